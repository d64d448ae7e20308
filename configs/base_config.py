"""What all evaluations have in common.

Tuned numbers are SegEarth-OV's released settings (CVPR 2025, arXiv 2410.01768).
"""

model = dict(
    type="SegEarthSegmentation",
    clip_type="CLIP",
    vit_type="ViT-B/16",
    model_type="SegEarth",
    ignore_residual=True,
    cls_token_lambda=-0.3,
    logit_scale=50,
    slide_crop=224,
    slide_stride=112,
    feature_up=True,
    feature_up_cfg=dict(model_name="jbu_one", model_path="xclip_jbu_one_million_aid.ckpt"),  # from the cache
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,  # works everywhere; with a GPU, 4 keep it busy
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        data_root="",
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(448, 448), keep_ratio=True),  # the long side becomes 448
            dict(type="LoadAnnotations"),  # after Resize: labels keep their size
            dict(type="PackSegInputs"),
        ],
    ),
)
test_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_cfg = dict(type="TestLoop")
default_scope = "mmseg"
env_cfg = dict(mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0))
