"""The table of upsamplers; and the choice of a trained upsampler's kernels alone.

An upsampler is a `torch.nn.Module` that is called with patch features (n, D, h, w) and the normalised image
(n, 3, H, W) and gives features (n, D, H, W). Nothing here imports torch before it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, TypeAlias

from segearth.errors import UserError, printable
from segearth.files import File
from segearth.plugins import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from segearth.models.simfeatup import JBUOne, JBUStack

Build: TypeAlias = Callable[[], Any]  # makes the module


@dataclass(frozen=True)
class Upsampler:
    """A row of the table.

    Attributes:
        build: the class or function that makes the module, as "module:name". One with weights takes the width of the
            features and, if another than its usual one is wanted, the radius of the kernels; one without weights takes
            no arguments.
        parameters: names of tensors by which its checkpoints are recognised; () for one without weights.
        files: its published weights by name; the first is used where only the upsampler is named.
    """

    build: str
    parameters: tuple[str, ...] = ()
    files: Mapping[str, File] = field(default_factory=dict)


_WEIGHTS = "https://raw.githubusercontent.com/likyoo/SegEarth-OV/main/simfeatup_dev/weights"

UPSAMPLERS: dict[str, Upsampler] = {
    "jbu_one": Upsampler(
        "segearth.models.simfeatup:JBUOne",
        ("up.range_temp", "fixup_proj.1.weight"),
        {
            "xclip_jbu_one_million_aid": File(
                name="xclip_jbu_one_million_aid.ckpt",
                url=f"{_WEIGHTS}/xclip_jbu_one_million_aid.ckpt",
                size=5_690_776,
                git_blob="d40f00838331331faa04a926ea5991f5203f91a8",
                licence="not stated by its publisher",
                about="SimFeatUp for OpenAI's ViT-B/16, trained on aerial images of Million-AID.",
            )
        },
    ),
    "jbu_stack": Upsampler(
        "segearth.models.simfeatup:JBUStack",
        ("up4.range_temp", "fixup_proj.1.weight"),
        {
            "clip_jbu_stack_cocostuff": File(
                name="clip_jbu_stack_cocostuff.ckpt",
                url=f"{_WEIGHTS}/clip_jbu_stack_cocostuff.ckpt",
                size=3_513_883,
                sha256="38ce7487c648d01cf37beb005f464410c498008fea03e6a68a269d79e4e29622",
                licence="MIT (FeatUp)",
                about="FeatUp for CLIP ViT-B/16, trained on COCO-Stuff.",
            ),
            "maskclip_jbu_stack_cocostuff": File(
                name="maskclip_jbu_stack_cocostuff.ckpt",
                url=f"{_WEIGHTS}/maskclip_jbu_stack_cocostuff.ckpt",
                size=3_513_883,
                sha256="1412eba0a7d08ba0dbe140afdaf479ad819e00bacf5e229ea7446d948637d787",
                licence="MIT (FeatUp)",
                about="FeatUp for MaskCLIP ViT-B/16, trained on COCO-Stuff.",
            ),
        },
    ),
    "bilinear": Upsampler("segearth.models.simfeatup:Bilinear"),
    "bilateral": Upsampler("segearth.models.bilateral:bilateral_filter"),
}

TRAINED = tuple(name for name, row in UPSAMPLERS.items() if row.parameters)
UPSAMPLER_FILES = {name: file for row in UPSAMPLERS.values() for name, file in row.files.items()}
UNTRAINED: dict[str, str | Build] = {name: row.build for name, row in UPSAMPLERS.items() if not row.parameters}
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


def upsampler_class(name: str) -> type[JBUOne] | type[JBUStack]:
    """The class of an upsampler with weights, by its name in `TRAINED`."""
    found: type[JBUOne] | type[JBUStack] = resolve_name(UPSAMPLERS[name].build)
    return found


def identify_upsampler(state: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Finds the upsampler that a checkpoint holds.

    Args:
        state: the checkpoint's tensors; with or without the published prefix `upsampler.`, and with the prefix beside
            other tensors.

    Returns:
        A name of `TRAINED`, and the upsampler's tensors without prefix.

    Raises:
        UserError: the checkpoint holds no upsampler.
    """
    from segearth.clip_names import without_prefixes

    state, prefix = without_prefixes(state), "upsampler."
    inner = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)} or dict(state)
    for name in TRAINED:
        if inner.keys() >= set(UPSAMPLERS[name].parameters):
            return name, inner
    first = ", ".join(printable(name[:100]) for name in list(inner)[:3])
    raise UserError(
        f"no upsampler in this checkpoint (first names: {first or 'none'}): expected the parameters of "
        f"{' or '.join(TRAINED)}, as SimFeatUp and FeatUp save them; give such a file"
    )
