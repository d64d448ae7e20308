"""Provenance of results: versions, git commit, checksums of weights."""

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
    """Versions of the packages that results may depend on."""
    import torch

    from segearth.models.onednn import onednn_is_used
    from segearth.models.precision import rounding

    packages = {"segearth": segearth.__version__, "python": platform.python_version(), "torch": str(torch.__version__)}
    for name, distributions in {
        "mmseg": ("onedl-mmsegmentation", "mmsegmentation"),
        "mmengine": ("onedl-mmengine", "mmengine"),
        "mmcv": ("onedl-mmcv", "mmcv"),
        "numpy": ("numpy",),
        "open_clip": ("open-clip-torch",),
    }.items():
        for distribution in distributions:
            try:
                packages[name] = metadata.version(distribution)
                break
            except metadata.PackageNotFoundError:
                continue
    if onednn_is_used():
        packages["float32 products"] = "oneDNN"
    elif (rounded := rounding("cpu")) is not None:
        packages["float32 products"] = f"may be rounded to {rounded}"
    if torch.cuda.is_available() and (rounded := rounding("cuda")) is not None:
        packages["float32 products on CUDA"] = f"may be rounded to {rounded}"
    return packages


@cache
def commit() -> str | None:
    """The git commit of this code, followed by "+ changes" if files differ from it; None outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PACKAGE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        # fails where the package is installed inside the repository of another project
        git("ls-files", "--error-unmatch", "__init__.py")
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + (" + changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def checksum(path: Path) -> str:
    """SHA-256 of a file; cached until the file changes.

    Raises:
        UserError: the file does not exist or cannot be read.
    """
    try:
        status = path.stat()
        return _checksum(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror or error}): expected a file; check its path and permissions"
        ) from None


def model_settings(spec: Spec, upsampler: str | Path | None, precision: str) -> dict[str, Any]:
    """Names and checksums of a model's weights, for summaries; missing weights are downloaded.

    Args:
        spec: the CLIP.
        upsampler: see `segearth.weights.upsampler_file`.
        precision: precision of the image encoder.

    Raises:
        UserError: weights that cannot be had.
    """
    file = weights.upsampler_file(upsampler, spec)
    # those of a named CLIP follow from its name
    statistics = spec.statistics._asdict() if spec.own and spec.statistics != STATISTICS else {}
    return {
        "model": spec.name,
        "architecture": architecture_of(spec),
        "weights_sha256": checksum(weights.fetch(spec.file)),
        "upsampler": weights.upsampler_kind(upsampler, spec),  # not its path: the hash identifies it
        "upsampler_sha256": None if file is None else checksum(file),
        "precision": precision,
        **{key: list(values) for key, values in statistics.items()},
    }


def architecture_of(spec: Spec) -> str:
    """The name of a CLIP's architecture; for a file with the start of its SHA-256."""
    return named_file(spec.architecture) if spec.own else spec.architecture


def named_file(name: str | Path) -> str:
    """The name of a file without its folder, and the start of its SHA-256; if there is no such file, the name."""
    path = user_path(name, "file")
    return f"{path.name} {checksum(path)[:12]}" if path.is_file() else path.name


@cache
def _checksum(path: Path, size: int, changed: int) -> str:  # noqa: ARG001 (part of the key)
    return weights.hash_of(path)
