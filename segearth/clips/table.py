"""The table of CLIPs and upsamplers, as data: where each file is, what is known of its content, how it is used.

A hash, size, commit or place that no source confirms is left out, and `about` or `doubt` says so. Names of hub
repositories and the means of LAION and DataComp are open_clip's own (`open_clip.pretrained`); so is MetaCLIP's
activation. Sizes of three digits (`about_size`) are those that the hub shows.
"""

from __future__ import annotations

from segearth.clips.spec import QUICK, STATISTICS, Spec, Statistics, untrained_upsampler
from segearth.clips.upsamplers import UPSAMPLER_FILES
from segearth.files import File, Packaged

_SKYSCRIPT = "https://opendatasharing.s3.us-west-2.amazonaws.com/SkyScript/ckpt"
_LAION = "laion/CLIP-ViT-"
_HALF = Statistics((127.5,) * 3, (127.5,) * 3)  # 0.5 of 255, of LAION's L/14 alone

# Sizes in bytes of both towers in float32, as the hub shows them.
_B32, _B16, _L14, _H14 = 605_000_000, 599_000_000, 1_710_000_000, 3_940_000_000

_MIT, _OPENAI = "MIT", "MIT (OpenAI)"
_NC = "CC BY-NC 4.0: not for commercial use"
_NOT_STATED = "not stated by its publisher"
_CC = "cc, which one is not said"

# Patch, width and image size of the towers, and open_clip's name for the plain architecture.
_TOWERS: dict[str, tuple[int, int, int, str]] = {
    "ViT-B/32": (32, 512, 224, "ViT-B-32"),
    "ViT-B/16": (16, 512, 224, "ViT-B-16"),
    "ViT-L/14": (14, 768, 224, "ViT-L-14"),
    "ViT-L/14@336": (14, 768, 336, "ViT-L-14-336"),
    "ViT-H/14": (14, 1024, 224, "ViT-H-14"),
}


def _row(
    family: str,
    vit: str,
    file: File,
    about: str,
    *,
    quick: bool = False,
    official_quick: bool | None = None,
    statistics: Statistics = STATISTICS,
    published: float | None = None,
    doubt: str = "",
) -> Spec:
    """A row for a CLIP without an upsampler of its own.

    Args:
        family: whose it is.
        vit: a key of `_TOWERS`.
        file: its weights.
        about: what it is.
        quick: whether it was trained with OpenAI's quick GELU.
        official_quick: whether the official code uses it so; None: the same.
        statistics: as of `Spec`.
        published: likewise.
        doubt: likewise.
    """
    patch, width, size, plain = _TOWERS[vit]
    official = plain + QUICK * bool(official_quick)
    architecture = plain + QUICK * quick
    return Spec(
        name=f"{family.lower()}-{vit.lower().replace('/', '').replace('@', '-')}",
        family=family,
        vit_type=vit,
        architecture=architecture,
        file=file,
        patch=patch,
        width=width,
        size=size,
        upsampler=untrained_upsampler(patch),
        statistics=statistics,
        official=official if official_quick is not None and official != architecture else "",
        published=published,
        about=about,
        doubt=doubt,
    )


def _hub(repository: str, name: str, cached: str, licence: str, **known: object) -> File:
    """A file of the Hugging Face hub, and what it is called in the cache."""
    return File(name=cached, hub=(repository, name), licence=licence, **known)  # type: ignore[arg-type]


def _timm(tower: str, tag: str, licence: str, **known: object) -> File:
    """A file of timm's repositories, which open_clip takes OpenAI's and MetaCLIP's weights from."""
    repository = f"vit_{tower}.{tag}" if "_clip_" in tower else f"vit_{tower}_clip_224.{tag}"
    return _hub(f"timm/{repository}", "open_clip_model.safetensors", f"{repository}.safetensors", licence, **known)


_OPENAI_ABOUT = "OpenAI's CLIP {}, both towers, in the names of open_clip."
_METACLIP_ABOUT = "MetaCLIP {}, trained on 2.5 billion pairs (metaclip_fullcc)."
_GEORSCLIP_START = (
    "That it was trained with quick GELU is inferred from its start, OpenAI's weights; its publisher does not say so."
)
_UNSTATED_START = "Which activation it was trained with is not stated by its publisher."

_ROWS = (
    # Their licence is that of OpenAI's repository; the copies of timm bear the tag apache-2.0. OpenAI's own files are
    # TorchScript archives of other bytes, which are programs, and are not read.
    _row(
        "CLIP",
        "ViT-B/32",
        _timm("base_patch32", "openai", _OPENAI, about_size=_B32),
        _OPENAI_ABOUT.format("ViT-B/32"),
        quick=True,
        published=30.6,
    ),
    Spec(
        name="clip-vit-b16",
        family="CLIP",
        vit_type="ViT-B/16",
        architecture="ViT-B-16-quickgelu",  # plain "ViT-B-16" has another GELU than OpenAI trained with
        # Read in several independent sources that pin this file, not on the hub itself. The size is what the header
        # and the 302 float32 tensors of this architecture take, to the byte.
        file=_timm(
            "base_patch16",
            "openai",
            _OPENAI,
            revision="977e3dd0ec55ab8da155f2fbeb6b5f54948b6e3d",
            size=598_516_980,
            sha256="4b8699299b1e8997753c64b052ba32031449d5d853f55a039148560ee02b820f",
        ),
        patch=16,
        width=512,
        size=224,
        upsampler="jbu_one",
        upsampler_file=UPSAMPLER_FILES["xclip_jbu_one_million_aid"],
        published=39.2,
        about="OpenAI's CLIP ViT-B/16 with SimFeatUp trained on aerial images: the model of the paper.",
    ),
    _row(
        "CLIP",
        "ViT-L/14",
        _timm("large_patch14", "openai", _OPENAI, about_size=_L14),
        _OPENAI_ABOUT.format("ViT-L/14"),
        quick=True,
    ),
    _row(
        "CLIP",
        "ViT-L/14@336",
        _timm("large_patch14_clip_336", "openai", _OPENAI, about_size=_L14),
        _OPENAI_ABOUT.format("ViT-L/14 for images of 336 pixels"),
        quick=True,
    ),
    _row(
        "OpenCLIP",
        "ViT-B/32",
        _hub(
            f"{_LAION}B-32-laion2B-s34B-b79K",
            "open_clip_pytorch_model.bin",
            "CLIP-ViT-B-32-laion2B-s34B-b79K.bin",
            _MIT,
            about_size=_B32,
            sha256="1bd3c7172de5b207ceac554f5ab5266166f3b9baccc9af5989bc801016d080ad",
        ),
        "OpenCLIP ViT-B/32 of LAION-2B (laion2b_s34b_b79k).",
    ),
    _row(
        "OpenCLIP",
        "ViT-B/16",
        _hub(
            f"{_LAION}B-16-laion2B-s34B-b88K",
            "open_clip_model.safetensors",
            "CLIP-ViT-B-16-laion2B-s34B-b88K.safetensors",
            _MIT,
            about_size=_B16,
            sha256="3f25d29d3cc74e1d25d47e0593b4dd0864ced1e9b4d8e486a247ca4502f227f1",
        ),
        "OpenCLIP ViT-B/16 of LAION-2B (laion2b_s34b_b88k).",
    ),
    _row(
        "OpenCLIP",
        "ViT-L/14",
        _hub(
            f"{_LAION}L-14-laion2B-s32B-b82K",
            "open_clip_pytorch_model.bin",
            "CLIP-ViT-L-14-laion2B-s32B-b82K.bin",
            _MIT,
            about_size=_L14,
            sha256="5ddb47339f44e4fd9cace3d3960d38af1b51a25857440cfae90afc44706d7e2b",
        ),
        "OpenCLIP ViT-L/14 of LAION-2B (laion2b_s32b_b82k), whose mean and standard deviation are 0.5.",
        statistics=_HALF,
    ),
    _row(
        "OpenCLIP",
        "ViT-H/14",
        _hub(
            f"{_LAION}H-14-laion2B-s32B-b79K",
            "open_clip_pytorch_model.bin",
            "CLIP-ViT-H-14-laion2B-s32B-b79K.bin",
            _MIT,
            size=3_944_692_325,
            sha256="9a78ef8e8c73fd0df621682e7a8e8eb36c6916cb3c16b291a082ecd52ab79cc4",
        ),
        "OpenCLIP ViT-H/14 of LAION-2B (laion2b_s32b_b79k).",
    ),
    *(
        _row(
            "DataComp",
            f"ViT-{tower.replace('-', '/')}",
            _hub(
                f"{_LAION}{tower}-DataComp.XL-s13B-b90K",
                f"open_clip_{name}",
                f"CLIP-ViT-{tower}-DataComp.XL-s13B-b90K.{name.rpartition('.')[2]}",
                _MIT,
                about_size=size,
            ),
            f"OpenCLIP ViT-{tower.replace('-', '/')} of DataComp-XL (datacomp_xl_s13b_b90k).",
        )
        for tower, name, size in (
            ("B-32", "model.safetensors", _B32),
            ("B-16", "pytorch_model.bin", _B16),
            ("L-14", "pytorch_model.bin", _L14),
        )
    ),
    _row(
        "MetaCLIP",
        "ViT-B/32",
        _timm("base_patch32", "metaclip_2pt5b", _NC, about_size=_B32),
        _METACLIP_ABOUT.format("ViT-B/32"),
        quick=True,
    ),
    _row(
        "MetaCLIP",
        "ViT-B/16",
        _timm(
            "base_patch16",
            "metaclip_2pt5b",
            _NC,
            about_size=_B16,
            sha256="e27e40b34d2ab0843674646075255648c3e64bc78b2c26b3220dffc9d69a1c03",
        ),
        _METACLIP_ABOUT.format("ViT-B/16"),
        quick=True,
    ),
    _row(
        "MetaCLIP",
        "ViT-L/14",
        _timm("large_patch14", "metaclip_2pt5b", _NC, about_size=_L14),
        _METACLIP_ABOUT.format("ViT-L/14"),
        quick=True,
    ),
    _row(
        "MetaCLIP",
        "ViT-H/14",
        _timm(
            "huge_patch14",
            "metaclip_2pt5b",
            _NC,
            about_size=_H14,
            sha256="aeaaf5e088332aee0ed3b79cbcd6bdb05546fbdc9a0ed7fbd649ac824c3431ad",
        ),
        _METACLIP_ABOUT.format("ViT-H/14"),
        quick=True,
    ),
    *(
        _row(
            "RemoteCLIP",
            f"ViT-{tower.replace('-', '/')}",
            _hub(
                "chendelong/RemoteCLIP",
                f"RemoteCLIP-ViT-{tower}.pt",
                f"RemoteCLIP-ViT-{tower}.pt",
                "Apache-2.0 by third parties; its page shows none",
                revision="bf1d8a3ccf2ddbf7c875705e46373bfe542bce38",
                size=size,
                sha256=sha256,
            ),
            f"RemoteCLIP ViT-{tower.replace('-', '/')}, trained on aerial images with captions.",
            published=published,
        )
        for tower, size, sha256, published in (
            ("B-32", 605_208_421, "60014e395d930a3f2963d1d89c8522bf4ad56775571e4356e866864789af85c4", 23.9),
            ("L-14", 1_710_613_765, "fcc2a7e21e171f4ffcb7a9c0206b8b74ac0c9eb83c67b576958b7a4ed6c8cecb", None),
        )
    ),
    _row(
        "GeoRSCLIP",
        "ViT-B/32",
        _hub("Zilun/GeoRSCLIP", "ckpt/RS5M_ViT-B-32.pt", "RS5M_ViT-B-32.pt", _CC, about_size=_B32),
        "GeoRSCLIP ViT-B/32, trained on RS5M, from OpenAI's weights as its model card loads it.",
        quick=True,
        official_quick=False,
        published=32.9,
    ),
    _row(
        "GeoRSCLIP",
        "ViT-L/14",
        _hub(
            "Zilun/GeoRSCLIP",
            "ckpt/RS5M_ViT-L-14.pt",
            "RS5M_ViT-L-14.pt",
            _CC,
            size=1_710_635_010,
            sha256="9119b7731c17dd66fae13619203f33900946fe0660095ed54d8e6c7cfe8d03c0",
        ),
        "GeoRSCLIP ViT-L/14, trained on RS5M.",
        quick=True,
        official_quick=False,
        doubt=_GEORSCLIP_START,
    ),
    _row(
        "GeoRSCLIP",
        "ViT-L/14@336",
        _hub(
            "Zilun/GeoRSCLIP",
            "ckpt/RS5M_ViT-L-14-336.pt",
            "RS5M_ViT-L-14-336.pt",
            _CC,
            size=1_711_947_530,
            sha256="b0c2c660e917a7235f7aec346556d2696cbf419249cf75bcd8c17b822b76428c",
        ),
        "GeoRSCLIP ViT-L/14 for images of 336 pixels, trained on RS5M.",
        quick=True,
        official_quick=False,
        doubt=_GEORSCLIP_START,
    ),
    _row(
        "GeoRSCLIP",
        "ViT-H/14",
        _hub("Zilun/GeoRSCLIP", "ckpt/RS5M_ViT-H-14.pt", "RS5M_ViT-H-14.pt", _CC, about_size=_H14),
        "GeoRSCLIP ViT-H/14, trained on RS5M.",
        doubt="That it was trained with GELU is inferred: OpenAI has no ViT-H/14 to start from.",
    ),
    _row(
        "SkyCLIP",
        "ViT-B/32",
        File(
            name="SkyCLIP_ViT_B32_top50pct_epoch_20.pt",
            url=f"{_SKYSCRIPT}/SkyCLIP_ViT_B32_top50pct.zip",
            member="epoch_20.pt",
            licence="MIT (its repository; of the weights alone nothing is said)",
        ),
        "SkyCLIP ViT-B/32, trained on SkyScript from LAION's weights.",
        published=31.0,
    ),
    _row(
        "SkyCLIP",
        "ViT-L/14",
        File(
            name="SkyCLIP_ViT_L14_top30pct_filtered_by_CLIP_laion_RS_epoch_20.pt",
            url=f"{_SKYSCRIPT}/SkyCLIP_ViT_L14_top30pct_filtered_by_CLIP_laion_RS.zip",
            member="epoch_20.pt",
            licence="MIT (its repository; of the weights alone nothing is said)",
        ),
        "SkyCLIP ViT-L/14, trained on SkyScript from OpenAI's weights, so with quick GELU.",
        quick=True,
        official_quick=False,
    ),
    _row(
        "ALIP",
        "ViT-B/32",
        File(name="ALIP_YFCC15M_B32.pt", licence=_NOT_STATED),
        "ALIP ViT-B/32, trained on YFCC15M. No address of its file could be confirmed.",
        doubt=_UNSTATED_START,
    ),
    Spec(
        name="tiny",
        family="tiny",
        vit_type="tiny",
        architecture="tiny",
        file=Packaged(
            "tiny.safetensors",
            sha256="d181b1b28e75750157fc2c552d825921a4d4900f51a2637535dceb046075ef6a",
            licence="Apache-2.0",
            about="The packaged small CLIP, trained on drawn scenes and a few open images.",
        ),
        patch=16,
        width=128,
        size=224,
        upsampler="jbu_one",
        upsampler_file=Packaged(
            "tiny_simfeatup.safetensors",
            sha256="f3110231d18f0e68fc77c006c3d4e4a50cd2ecf2a9a2f08918c677dbc56715ba",
            licence="Apache-2.0",
            about="SimFeatUp for the packaged small CLIP.",
        ),
        about=(
            "NOT OpenAI's CLIP, just a small CLIP packaged with segearth, trained on drawn scenes and a few open "
            "images: it shows that everything runs, without a download, and its maps of real places are rough guesses."
        ),
    ),
)

CLIPS: dict[str, Spec] = {row.name: row for row in _ROWS}
