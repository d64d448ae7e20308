"""The table of named weights, and where their files are: packaged, in a cache, or on a server.

    path = weights.fetch(weights.model("clip-vit-b16").file)

Weights come from the package itself, from segearth's cache (`cache_dir`), from the Hugging Face hub's cache,
which open_clip fills as well, and at last from the network. Downloads are checked; a file that was put into
segearth's cache by hand is as good as a downloaded one.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from segearth import downloads
from segearth.errors import UserError, option
from segearth.files import File
from segearth.paths import user_path

__all__ = [
    "FILES",
    "MODELS",
    "PACKAGED",
    "File",
    "Model",
    "Packaged",
    "cache_dir",
    "cache_path",
    "copies",
    "fetch",
    "find",
    "model",
    "model_for",
    "packaged",
    "reachable",
    "upsampler_file",
    "upsampler_kind",
]

HASHED_BYTES = 50_000_000  # a cached file up to this size is hashed at every use: 50 MB take some 0.1 s


@dataclass(frozen=True)
class Packaged:
    """A file that is part of segearth itself, in `segearth/data`.

    Attributes:
        name: Its file name.
        sha256: SHA-256 of its content, in hex; None where it is not pinned.
        licence: Licence of the content.
        about: What it is, in a sentence.
    """

    name: str
    sha256: str | None = None
    licence: str = ""
    about: str = ""


@dataclass(frozen=True)
class Model:
    """A CLIP with an upsampler, by name.

    Attributes:
        name: Its name here.
        clip_type: Its `clip_type` in a config, such as "CLIP".
        vit_type: Its `vit_type` in a config, such as "ViT-B/16".
        architecture: An open_clip model name, or the name of a packaged JSON config without its ending.
        file: The CLIP's weights.
        upsampler: What brings the features of the patches to the pixels; None for no upsampling.
        upsampler_file: The upsampler's weights; None if it has none.
        about: What it is, in a sentence.
    """

    name: str
    clip_type: str
    vit_type: str
    architecture: str
    file: File | Packaged
    upsampler: Literal["jbu_one", "jbu_stack", "bilinear"] | None
    upsampler_file: File | Packaged | None
    about: str

    @property
    def downloads(self) -> tuple[File, ...]:
        """The files that are not part of the package."""
        return tuple(file for file in (self.file, self.upsampler_file) if isinstance(file, File))

    @property
    def download_bytes(self) -> int:
        """Size of all downloads; rounded where the exact size of a file was never seen."""
        return sum(file.size or file.about_size for file in self.downloads)


_SEGEARTH_OV = "https://raw.githubusercontent.com/likyoo/SegEarth-OV/main"

FILES: dict[str, File] = {
    # Read in several independent sources that pin this file, not on the hub itself. The size is what the header and
    # the 302 float32 tensors of this architecture take, to the byte.
    "clip-vit-b16": File(
        name="vit_base_patch16_clip_224.openai.safetensors",
        hub=("timm/vit_base_patch16_clip_224.openai", "open_clip_model.safetensors"),
        revision="977e3dd0ec55ab8da155f2fbeb6b5f54948b6e3d",
        size=598_516_980,
        sha256="4b8699299b1e8997753c64b052ba32031449d5d853f55a039148560ee02b820f",
        licence="MIT (OpenAI)",
        about="OpenAI's CLIP ViT-B/16, both towers, in the names of open_clip.",
    ),
    "xclip_jbu_one_million_aid": File(
        name="xclip_jbu_one_million_aid.ckpt",
        url=f"{_SEGEARTH_OV}/simfeatup_dev/weights/xclip_jbu_one_million_aid.ckpt",
        size=5_690_776,
        git_blob="d40f00838331331faa04a926ea5991f5203f91a8",
        licence="not stated by its publisher",
        about="SimFeatUp for OpenAI's ViT-B/16, trained on aerial images of Million-AID.",
    ),
    "clip_jbu_stack_cocostuff": File(
        name="clip_jbu_stack_cocostuff.ckpt",
        url=f"{_SEGEARTH_OV}/simfeatup_dev/weights/clip_jbu_stack_cocostuff.ckpt",
        size=3_513_883,
        sha256="38ce7487c648d01cf37beb005f464410c498008fea03e6a68a269d79e4e29622",
        licence="MIT (FeatUp)",
        about="FeatUp for CLIP ViT-B/16, trained on COCO-Stuff.",
    ),
    "maskclip_jbu_stack_cocostuff": File(
        name="maskclip_jbu_stack_cocostuff.ckpt",
        url=f"{_SEGEARTH_OV}/simfeatup_dev/weights/maskclip_jbu_stack_cocostuff.ckpt",
        size=3_513_883,
        sha256="1412eba0a7d08ba0dbe140afdaf479ad819e00bacf5e229ea7446d948637d787",
        licence="MIT (FeatUp)",
        about="FeatUp for MaskCLIP ViT-B/16, trained on COCO-Stuff.",
    ),
    "oem_koeln_50.tif": File(
        name="oem_koeln_50.tif",
        url=f"{_SEGEARTH_OV}/demo/oem_koeln_50.tif",
        size=3_003_372,
        sha256="070a1ca21a3ae5fce378b63ce4d81eb7d12f8acddf401bbf5c98f226d0e26913",
        licence="that of OpenEarthMap's images: see its site",
        about="An aerial image of Cologne from OpenEarthMap, 1000 × 1000 pixels.",
    ),
}

MODELS: dict[str, Model] = {
    "clip-vit-b16": Model(
        name="clip-vit-b16",
        clip_type="CLIP",
        vit_type="ViT-B/16",
        architecture="ViT-B-16-quickgelu",  # plain "ViT-B-16" has another GELU than OpenAI trained with
        file=FILES["clip-vit-b16"],
        upsampler="jbu_one",
        upsampler_file=FILES["xclip_jbu_one_million_aid"],
        about="OpenAI's CLIP ViT-B/16 with SimFeatUp trained on aerial images: the model of the paper.",
    ),
    "tiny": Model(
        name="tiny",
        clip_type="tiny",
        vit_type="tiny",
        architecture="tiny",
        file=Packaged(
            "tiny.safetensors",
            sha256="d181b1b28e75750157fc2c552d825921a4d4900f51a2637535dceb046075ef6a",
            licence="Apache-2.0",
            about="The packaged small CLIP, trained on drawn scenes and a few open images.",
        ),
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
}

PACKAGED: dict[str, Packaged] = {
    Path(file.name).stem: file
    for row in MODELS.values()
    for file in (row.file, row.upsampler_file)
    if isinstance(file, Packaged)
}


def model(name: str) -> Model:
    """The model of that name.

    Raises:
        UserError: There is none.
    """
    if name not in MODELS:
        raise UserError(f"Unknown model {name!r}. Expected one of: {', '.join(MODELS)}. Choose one of these.")
    return MODELS[name]


def model_for(clip_type: str, vit_type: str) -> Model:
    """The model that a config names by its `clip_type` and `vit_type`.

    Raises:
        UserError: There is none.
    """
    for candidate in MODELS.values():
        if (candidate.clip_type, candidate.vit_type) == (clip_type, vit_type):
            return candidate
    known = "; ".join(f"clip_type={m.clip_type!r}, vit_type={m.vit_type!r}" for m in MODELS.values())
    raise UserError(
        f"No weights are known for clip_type={clip_type!r} with vit_type={vit_type!r}. "
        f"Expected one of these pairs: {known}. Change the config to one of them."
    )


def packaged(name: str) -> Path:
    """Path of a file in `segearth/data`.

    Raises:
        UserError: This installation lacks it.
    """
    path = Path(str(resources.files("segearth") / "data" / name))
    if not path.is_file():
        raise UserError(
            f"This installation of segearth lacks {path}. Expected it as a part of the package. Install segearth again."
        )
    return path


def cache_dir() -> Path:
    """Folder of downloaded files: `$SEGEARTH_HOME`, or `segearth` in the platform's folder for caches."""
    if home := os.environ.get("SEGEARTH_HOME"):
        return user_path(home, "folder of SEGEARTH_HOME").absolute()
    platform = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return (Path(platform) if platform else Path.home() / ".cache") / "segearth"


def cache_path(file: File) -> Path:
    """Where a file is once it was downloaded, and where a copy made by hand belongs."""
    return cache_dir() / file.name


def find(file: File | Packaged | str) -> Path | None:
    """A usable copy on this computer; None if there is none. Makes no request.

    A copy of another length than expected (an interrupted one) is not used.

    Args:
        file: What to look for; a string is a key of `FILES`.

    Raises:
        UserError: An unknown name, or a copy whose content is damaged.
    """
    if isinstance(file, Packaged):
        return packaged(file.name)
    file = _named(file)
    for path in copies(file):
        try:
            if not path.is_file() or not file.is_complete(path):
                continue
            problem = file.damage(path) if path.stat().st_size <= HASHED_BYTES else None
        except OSError as error:
            raise UserError(
                f"Could not read {path}: {error.strerror}. Expected a file that you may read. "
                "Change its permissions, or set SEGEARTH_HOME to another folder."
            ) from None
        if problem is not None:
            raise UserError(f"{path} is damaged: {problem}. Delete it; it is downloaded again when needed.")
        return path
    return None


def fetch(file: File | Packaged | str, *, progress: bool = True, timeout: float = 5.0) -> Path:
    """A usable copy on this computer, downloaded into the cache if there is none yet.

    Args:
        file: What to get; a string is a key of `FILES`.
        progress: Whether to draw a progress bar on stderr during a download.
        timeout: Seconds until a server must be reached.

    Raises:
        UserError: An unknown name, a damaged copy, or a failed download.
    """
    if isinstance(file, Packaged):
        return packaged(file.name)
    file = _named(file)
    if (path := find(file)) is not None:
        return path
    target = cache_path(file)
    advice = f"Check the network and its proxy settings, or put the file at {target} yourself"
    if any(file in known.downloads for known in MODELS.values()):
        advice += f", or use the packaged model, which needs no download: {option('model', 'tiny')}"
    if target.is_file():
        advice += f" (what is there now is not complete: {target.stat().st_size:,} bytes)"
    downloads.download(file, target, advice=f"{advice}.", progress=progress, timeout=timeout)
    return target


def copies(file: File) -> Iterator[Path]:
    """Where a copy may be, best place first; that it is there is not said."""
    yield cache_path(file)
    if file.hub is not None:
        from huggingface_hub import try_to_load_from_cache

        for revision in dict.fromkeys((file.revision, "main")):  # other programs ask for the newest one
            cached = try_to_load_from_cache(*file.hub, None, revision)
            if isinstance(cached, str):
                yield Path(cached)


def upsampler_file(choice: str | Path | None, row: Model | None = None, *, progress: bool = False) -> Path | None:
    """The file of an upsampler, downloaded if it must be; None for those that have none.

    Args:
        choice: "default" (that of `row`), "bilinear", a key of `FILES`, the path of a checkpoint, or None for none.
        row: The model that it is for.
        progress: Whether to draw a progress bar on stderr during a download.

    Raises:
        UserError: No such name or file, or a failed download.
    """
    if choice == "default" and row is not None:
        return None if row.upsampler_file is None else fetch(row.upsampler_file, progress=progress)
    if choice in (None, "bilinear", "default"):
        return None
    if str(choice) in FILES:
        return fetch(str(choice), progress=progress)
    path = user_path(str(choice), "upsampler")
    if not path.is_file():
        names = ", ".join(name for name in FILES if "jbu" in name)
        raise UserError(
            f"no upsampler {str(choice)!r}: it is neither a file nor a known name; use bilinear, {names}, or the "
            "path of a SimFeatUp or FeatUp checkpoint"
        )
    return path


def upsampler_kind(choice: str | Path | None, row: Model | None = None) -> str | None:
    """What an upsampler is called: that of its model for "default", bilinear for weights by path; else its file's name.

    Args:
        choice: As `upsampler_file` takes it.
        row: The model that it is for.
    """
    if choice == "default":
        return "bilinear" if row is None else row.upsampler
    return None if choice is None else Path(choice).name


def reachable(file: File | str, timeout: float = 5.0) -> bool:
    """Whether a server offers the file: one request, at most `timeout` seconds, never repeated."""
    return downloads.reachable(_named(file), timeout)


def _named(file: File | str) -> File:
    if isinstance(file, File):
        return file
    if file not in FILES:
        raise UserError(f"Unknown file {file!r}. Expected one of: {', '.join(FILES)}. Choose one of these.")
    return FILES[file]
