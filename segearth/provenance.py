"""Where results come from: versions, the commit of this code, checksums of weights."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import segearth
from segearth import weights
from segearth.clips import STATISTICS, Spec
from segearth.errors import UserError
from segearth.paths import user_path

PACKAGE = Path(segearth.__file__).parent


def versions() -> dict[str, str]:
    """Versions of what figures may depend on."""
    import torch

    from segearth.models.onednn import onednn_is_used
    from segearth.models.precision import rounding

    found = {"segearth": segearth.__version__, "python": platform.python_version(), "torch": str(torch.__version__)}
    for name, distributions in {
        "mmseg": ("onedl-mmsegmentation", "mmsegmentation"),
        "mmengine": ("onedl-mmengine", "mmengine"),
        "mmcv": ("onedl-mmcv", "mmcv"),
        "numpy": ("numpy",),
        "open_clip": ("open-clip-torch",),
    }.items():
        for distribution in distributions:
            try:
                found[name] = metadata.version(distribution)
                break
            except metadata.PackageNotFoundError:
                continue
    if onednn_is_used():
        found["float32 products"] = "oneDNN"
    elif (rounded := rounding("cpu")) is not None:
        found["float32 products"] = f"may be rounded to {rounded}"
    if torch.cuda.is_available() and (rounded := rounding("cuda")) is not None:
        found["float32 products on CUDA"] = f"may be rounded to {rounded}"
    return found


@cache
def commit() -> str | None:
    """The git commit of this code, with "+ changes" where files differ from it; None outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PACKAGE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # installed somewhere in another project's repository: no
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + (" + changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def checksum(path: Path) -> str:
    """SHA-256 of a file, computed once as long as the file does not change.

    Raises:
        UserError: it is not there, or cannot be read.
    """
    try:
        status = path.stat()
        return _checksum(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror or error}): expected a file; check its path and permissions"
        ) from None


def model_settings(spec: Spec, upsampler: str | Path | None, precision: str) -> dict[str, Any]:
    """Which weights a model is made of, for summaries; they are downloaded if they must be.

    Args:
        spec: the CLIP.
        upsampler: as `segearth.weights.upsampler_file` takes it.
        precision: of the image encoder.

    Raises:
        UserError: weights that cannot be had.
    """
    file = weights.upsampler_file(upsampler, spec)
    # the name of a row of the table tells its own
    own = spec.statistics._asdict() if spec.own and spec.statistics != STATISTICS else {}
    return {
        "model": spec.name,
        "architecture": architecture_of(spec),
        "weights_sha256": checksum(weights.fetch(spec.file)),
        "upsampler": weights.upsampler_kind(upsampler, spec),  # wherever it lies: its hash tells it
        "upsampler_sha256": None if file is None else checksum(file),
        "precision": precision,
        **{key: list(values) for key, values in own.items()},
    }


def architecture_of(spec: Spec) -> str:
    """What its architecture is called; of one in a file with the beginning of its SHA-256."""
    return named_file(spec.architecture) if spec.own else spec.architecture


def named_file(name: str | Path) -> str:
    """A file's name, wherever it lies, with the beginning of its SHA-256; a name that is no file is only that."""
    path = user_path(name, "file")
    return f"{path.name} {checksum(path)[:12]}" if path.is_file() else path.name


@cache
def _checksum(path: Path, size: int, changed: int) -> str:  # noqa: ARG001 (part of the key)
    return weights.hash_of(path)
