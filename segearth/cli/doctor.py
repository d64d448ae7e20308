"""`segearth doctor`: information for a bug report, and a self-test of the computation."""

from __future__ import annotations

import argparse
import getpass
import os
import platform
import re
import time
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import segearth
from segearth import downloads, weights
from segearth.cli.formatting import columns, megabytes, short_path
from segearth.cli.options import add_device
from segearth.errors import UserError, first_line
from segearth.exits import OK, SOME_FAILED
from segearth.extras import EXTRAS, install_command
from segearth.json_files import json_text

HELP = "Test that segearth computes right here, and show what a bug report needs."

PACKAGES = ("torch", "torchvision", "open_clip", "numpy", "PIL", "safetensors", "tqdm", "huggingface_hub")
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "SEGEARTH_OFFLINE",
    "HF_HUB_OFFLINE",
    "SEGEARTH_NO_PROGRESS",
    "SEGEARTH_ONEDNN",
)
# Variables whose values are private.
PLACES = ("SEGEARTH_HOME", "HF_HOME", "HF_ENDPOINT", "HF_TOKEN", "HTTPS_PROXY", "https_proxy")

# The mean confidence of `tiny` on rows and columns 400 to 623 of the packaged scene, fp32 on a CPU. In bf16 it is
# 0.0004 more, in fp16 0.00002; noise of one grey level, as another JPEG decoder may give, makes it 0.0005 more.
EXPECTED, TOLERANCE = 0.8011, 0.002
WINDOW = slice(400, 624)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds device and output format."""
    parser.epilog = "Exit code: 0 if the self-test passes, else 1. The text names no user, and no home folder but ~."
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the report."""
    test = self_test(args.device)
    report = {
        "segearth": versions(),
        "devices": devices(),
        "settings": settings(),
        "weights": {name: _where(name) for name in weights.files()},
        "optional parts": {name: _part(name) for name in EXTRAS},
        "self-test": test,
    }
    text = json_text(report)[:-1] if args.json else "\n\n".join(_sections(report))
    print(anonymous(text))
    return OK if test["passed"] else SOME_FAILED


def versions() -> dict[str, str]:
    """Versions of segearth, Python and the required packages."""
    from segearth.provenance import commit

    version = segearth.__version__ + (f", commit {revision}" if (revision := commit()) else "")
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    return {
        "segearth": f"{version}, in {short_path(Path(segearth.__file__).parent)}",
        "Python": platform.python_version(),
        "system": system,
        **{name: _version(name) or f"not installed; {install_command()}" for name in PACKAGES},
    }


def devices() -> dict[str, str]:
    """The devices that torch sees."""
    try:
        import torch

        from segearth.compute import bf16_in_hardware
        from segearth.models.onednn import use_onednn
    except ImportError as error:
        return {"torch": f"cannot be imported: {first_line(error)}"}
    cpu = f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"
    rows = {"CPU": f"{cpu}, {_bf16(bf16_in_hardware(torch.device('cpu')))}"}
    reason = use_onednn()
    rows["float32 products"] = "by oneDNN" if reason is None else f"as torch chooses; not by oneDNN, as {reason}"
    for i in range(torch.cuda.device_count()):
        try:
            facts = torch.cuda.get_device_properties(i)
            bf16 = _bf16(bf16_in_hardware(torch.device("cuda", i)))
            rows[f"CUDA {i}"] = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, {bf16}"
        except RuntimeError as error:  # a wrong driver, or a GPU in exclusive use
            rows[f"CUDA {i}"] = f"cannot be used: {first_line(error)}"
    if not torch.cuda.device_count():
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU alone"
        rows["CUDA"] = f"no device; this torch is built for {build}"
    rows["MPS"] = "yes" if torch.backends.mps.is_available() else "no"
    return rows


def settings() -> dict[str, str]:
    """Caches, and settings by environment variables."""
    rows = {"cache": short_path(weights.cache_dir())}
    try:
        from huggingface_hub.constants import HF_HUB_CACHE

        rows["the hub's cache"] = short_path(Path(HF_HUB_CACHE))
    except ImportError as error:
        rows["the hub's cache"] = first_line(error)
    rows["offline"] = "yes: SEGEARTH_OFFLINE or HF_HUB_OFFLINE is set" if downloads.offline() else "no"
    rows |= {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return rows | {name: "is set" for name in PLACES if name in os.environ}


def self_test(device: str) -> dict[str, Any]:
    """Maps one window of the packaged scene with `tiny`; errors are part of the result."""
    facts: dict[str, Any] = {"passed": False, "mean confidence": None, "expected": EXPECTED, "tolerance": TOLERANCE}
    try:
        from segearth.images import read_image
        from segearth.loading import load_model
        from segearth.vocabulary import LAND_COVER

        predictor = load_model("tiny", [list(names) for names in LAND_COVER], device)
        pixels, _ = read_image(weights.packaged("scene.jpg"))
        started = time.perf_counter()
        result = predictor.predict(pixels[WINDOW, WINDOW], None)
        confidence = float(result.confidence.mean(dtype="float64"))
        facts |= {"device": str(predictor.device), "seconds": round(time.perf_counter() - started, 2)}
        facts |= {"mean confidence": round(confidence, 5), "passed": abs(confidence - EXPECTED) <= TOLERANCE}
    except UserError as error:
        facts["error"] = str(error)
    except Exception as error:  # any error belongs in the report
        facts["error"] = f"{type(error).__name__}: {first_line(error)}"
    return facts


def anonymous(text: str) -> str:
    """Replaces the home folder and the user name in paths."""
    home = str(Path.home())
    text = text if len(home) < 2 else re.sub(rf"{re.escape(home)}(?=$|[/\\\s\"',:;)])", "~", text, flags=re.MULTILINE)
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user id without a name, in a container
        return text
    return re.sub(rf"(?<=[/\\]){re.escape(user)}(?=$|[/\\\s\"',:;)])", "USER", text, flags=re.MULTILINE)


def _sections(report: dict[str, dict[str, Any]]) -> list[str]:
    """The sections of the report as text."""
    test = dict(report["self-test"])
    passed = test.pop("passed")
    shown = report | {"self-test": {"result": "passed" if passed else "FAILED", **test}}
    return [
        f"{title}\n" + columns([(key, str(value)) for key, value in section.items()], "  ")
        for title, section in shown.items()
    ]


def _where(name: str) -> str:
    """Path and size of a weights file."""
    try:
        path = weights.find(name)
    except (UserError, ImportError) as error:
        return first_line(error)
    return "not here" if path is None else f"{megabytes(path.stat().st_size)}, {short_path(path)}"


def _part(name: str) -> str:
    """Whether an extra is installed, or how to install it."""
    extra = EXTRAS[name]
    missing = [package for package in extra.packages if find_spec(package) is None]
    if missing:
        return f"no ({extra.about}): {', '.join(missing)} missing; {install_command(name)}"
    installed = ", ".join(f"{package} {_version(package) or ''}".strip() for package in extra.packages)
    return f"yes ({extra.about}): {installed}"


def _version(package: str) -> str | None:
    """The version of a package by its import name; None if not installed."""
    if find_spec(package) is None:
        return None
    for name in _distributions().get(package, [package]):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "of unknown version"


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Distributions by import name: mmcv may come from onedl-mmcv."""
    return metadata.packages_distributions()


def _bf16(has: bool) -> str:
    return f"bf16 {'in hardware' if has else 'not in hardware'}"
