"""Upsamplers without weights, by name; and the choice of a trained upsampler's kernels alone.

An upsampler is a `torch.nn.Module` that is called with patch features (n, D, h, w) and the normalised image
(n, 3, H, W) and gives features (n, D, H, W). Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from segearth.errors import UserError
from segearth.plugins import Registry

Build: TypeAlias = Callable[[], Any]  # makes the module

# The function that makes each, or where it is, "module:name".
UNTRAINED: dict[str, str | Build] = {
    "bilinear": "segearth.models.simfeatup:Bilinear",
    "bilateral": "segearth.models.bilateral:bilateral_filter",
}
REGISTRY = Registry("upsampler", "segearth.upsamplers", UNTRAINED)

# Before the name or file of an upsampler: without its last convolution, the only part that has the width of a CLIP.
KERNELS = "kernels:"
SHORT = {"simfeatup-kernels": f"{KERNELS}xclip_jbu_one_million_aid"}


def register_upsampler(name: str, build: Build) -> None:
    """Adds an upsampler for this process; a package does it by an entry point of the group "segearth.upsamplers".

    Args:
        name: what `--upsampler` and `upsampler=` take.
        build: makes the module; it takes no arguments.

    Raises:
        UserError: the name is taken.
    """
    if name in SHORT or name == "default":
        raise UserError(f"there is an upsampler {name!r} already: expected a new name; give it another one")
    REGISTRY.register(name, build)


def is_untrained(choice: str | Path | None) -> bool:
    """Whether a choice is the name of an upsampler without weights."""
    return REGISTRY.has(choice)


def untrained_names() -> list[str]:
    """The names of all upsamplers without weights, those of the table first."""
    return REGISTRY.names()


def build_untrained(name: str) -> Any:
    """Makes the upsampler of a name for which `is_untrained` holds.

    Raises:
        UserError: a package whose upsampler cannot be loaded.
    """
    build = REGISTRY.load(name)
    try:
        return build()
    except Exception as error:  # code of other authors
        raise REGISTRY.broken(name, f"cannot be made ({type(error).__name__}: {error})") from None


def named_weights(choice: str | Path) -> tuple[str | Path, bool]:
    """The name or file in a choice, and whether only its kernels are meant, as by "kernels:NAME" and "kernels:FILE"."""
    text = SHORT.get(str(choice), str(choice))
    return (text.removeprefix(KERNELS), True) if text.startswith(KERNELS) else (choice, False)
