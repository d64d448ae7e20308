"""Training of SimFeatUp, the upsampler, for any CLIP on unlabelled images.

Li et al., SegEarth-OV, arXiv 2410.01768, section 3.2, after FeatUp (Fu et al., arXiv 2403.10516): a frozen CLIP sees
an image and a jittered copy of it (enlarged, cut, mirrored). The pixel features of the image, jittered alike and
brought down to patches again, must be the patch features of the copy; and its colours must be readable from them.

| file | what |
|---|---|
| `images.py` | a folder of images to crops, each decided by its number alone |
| `jitter.py` | the jitter, as two sparse matrices |
| `adaptive_conv.py`, `kernels.py` | the upsampler as it is trained: exact, tiled, no unfolded map |
| `losses.py` | attention downsampler, uncertainty, image reconstruction |
| `recipe.py` | what is trained, and how |
| `step.py`, `trainer.py` | one optimiser step; the loop over steps, processes, checkpoints and the log |
"""
