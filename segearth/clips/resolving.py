"""Gives the `Spec` of a CLIP by its name, by the pair of a config, by a path or by an address of the Hugging Face hub.

resolve("remoteclip-vit-l14")                                  # as it was trained
resolve(("RemoteCLIP", "ViT-L/14"))                            # as the official code computes it
resolve("mine.pt", "ViT-L-14")                                 # a file of the user
resolve("hf://someone/model/open_clip_model.safetensors", "ViT-L-14")
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeAlias

from segearth.clips.own import own_facts
from segearth.clips.spec import Spec, untrained_upsampler
from segearth.clips.table import CLIPS
from segearth.errors import UserError, notice, option
from segearth.files import File
from segearth.paths import user_path
from segearth.plugins import Registry

REGISTRY = Registry("CLIP", "segearth.clips", CLIPS)
HUB = "hf://"
Model: TypeAlias = "Spec | str | Path | tuple[str, str]"

# Families of the official code that cannot be used here, and why.
_NOT_BUILT = {
    "blip": "BLIP's towers are not CLIP's (its texts go through BERT), and nothing here builds them",
}
_TOWER = re.compile(r"(?:vit[-_ ]?)?([a-z]+)[-_/ ]?(\d\d)(?:[-_@/](\d{3})(?:px)?)?", re.ASCII | re.IGNORECASE)
_HUB_FILE = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@([\w.-]+))?/([\w./-]+)", re.ASCII)


def register(*rows: Spec) -> None:
    """Adds rows to the table of this process; a package gives them by an entry point of the group `segearth.clips`.

    Args:
        rows: each with a name and a pair (`family`, `vit_type`) of its own, and with `patch`, `width` and `size`.

    Raises:
        UserError: a row that has none of these, or what another row has.
    """
    for row in rows:
        if not (row.patch and row.width and row.size):
            raise UserError(
                f"the row {row.name!r} lacks patch, width or size: expected those of its image tower; give them"
            )
        taken = [other.name for other in CLIPS.values() if row.name == other.name or _pair(row) == _pair(other)]
        if taken and CLIPS.get(row.name) != row:
            raise UserError(
                f"the row {row.name!r} ({row.family}, {row.vit_type}) has the name or the pair of {taken[0]!r}: "
                "expected both of its own; change them"
            )
        CLIPS[row.name] = row


def known() -> Mapping[str, Spec]:
    """All rows by name, those of plug-ins included."""
    _load_plug_ins()
    return CLIPS


def resolve(model: Model, architecture: str | Path | None = None) -> Spec:
    """Gives the row of a CLIP; nothing is downloaded, and no weights are read.

    Args:
        model: a name of the table: the CLIP as it was trained; the pair (`clip_type`, `vit_type`) of a config, in any
            spelling: as the official code computes it; the path of weights, or their address on the Hugging Face hub,
            "hf://owner/name/file" or "hf://owner/name@commit/file"; or a row, which is returned.
        architecture: of a path or an address: a name of open_clip, or the path of its JSON file; what it says beside
            the architecture is used, see `segearth.clips.own`.

    Raises:
        UserError: an unknown model, weights without an architecture, an architecture for a row of the table, or a mean
            or standard deviation that cannot be.
    """
    if isinstance(model, Spec):
        return model
    if isinstance(model, tuple):
        return _official(*model)
    if not isinstance(model, str | Path):
        raise UserError(f"model {model!r}: expected {_EXPECTED}; give one")
    text = str(model)
    row = known().get(text)
    if row is not None:
        if architecture is not None:
            raise UserError(f"architecture {architecture}: the model {model} has its own; leave it away")
        return row
    if text.startswith(HUB):
        file: File | Path = _on_the_hub(text)
    else:
        file = user_path(model, "model")
        if not file.is_file():
            raise _no_model(text)
    if architecture is None:
        raise _no_architecture(text)
    is_address, file_name = text.startswith(HUB), Path(text).name
    facts = own_facts(str(architecture), file if isinstance(file, Path) else None)
    return Spec(
        name=text if is_address or file_name.lower() in known() else file_name,  # never that of a row
        family=file_name,
        vit_type=Path(architecture).name,
        architecture=str(architecture),
        file=file,
        size=facts.size,
        statistics=facts.statistics,
        upsampler=untrained_upsampler(facts.patch),
        about=f"{Path(architecture).name} from {text}",
    )


_EXPECTED = (
    "a name of segearth weights list, such as clip-vit-b16 or tiny, the path of CLIP weights, or hf://owner/name/file"
)


@cache
def _load_plug_ins() -> None:
    """Registers the rows of installed plug-ins, once; one that cannot be used is told, and the others go on."""
    for name in REGISTRY.installed():
        try:
            rows = REGISTRY.load_installed(name)
            rows = rows() if callable(rows) else rows
            register(*(rows if isinstance(rows, Iterable) else [rows]))
        except Exception as error:  # of another package: anything
            notice(f"the CLIPs of the plug-in {name} cannot be used ({type(error).__name__}: {error})")


def _official(clip_type: str, vit_type: str) -> Spec:
    """The row of a config's pair, as the official code computes it."""
    pair = (str(clip_type).lower(), _tower(str(vit_type)))
    for row in known().values():
        if _pair(row) == pair:
            return row.as_official()
    shown = f"clip_type={clip_type!r} with vit_type={vit_type!r}"
    families: dict[str, list[str]] = {}
    for row in known().values():
        families.setdefault(row.family, []).append(row.vit_type)
    why = f" ({_NOT_BUILT[pair[0]]})" if pair[0] in _NOT_BUILT else ""
    same_family = next((towers for family, towers in families.items() if family.lower() == pair[0]), None)
    if same_family is not None:
        raise UserError(
            f"no weights are known for {shown}: expected one of {', '.join(same_family)} of this family; change "
            "vit_type, or name weights of your own by model and architecture"
        )
    pairs = "; ".join(f"{family} with {', '.join(towers)}" for family, towers in families.items())
    raise UserError(
        f"no weights are known for {shown}{why}: expected one of these pairs: {pairs}; change the config to one of "
        "them, or name weights of your own by model and architecture"
    )


def _pair(row: Spec) -> tuple[str, str]:
    """The pair by which configs name a row, in one spelling."""
    return row.family.lower(), _tower(row.vit_type)


def _tower(vit_type: str) -> str:
    """The name of an image tower in one spelling: ViT-B/16, ViT-B-16, vit_b_16 and B/16 are "b16"."""
    match = _TOWER.fullmatch(vit_type.strip())
    if match is None:
        return vit_type.lower()
    size, patch, side = match.groups()
    return f"{size.lower()}{patch}" + (f"@{side}" if side else "")


def _on_the_hub(address: str) -> File:
    """A file by its address on the hub."""
    match = _HUB_FILE.fullmatch(address)
    if match is None or ".." in match[3].split("/"):
        raise UserError(
            f"{option('model', address)} is no address of a file on the hub: expected hf://owner/name/file, such as "
            "hf://laion/CLIP-ViT-B-32-laion2B-s34B-b79K/open_clip_pytorch_model.bin; correct it"
        )
    repository, revision, name = match.groups()
    parts = [*repository.split("/"), *([f"@{revision}"] if revision else []), *name.split("/")]
    return File(
        name="--".join(part.replace("-", "%2D") if "--" in f"-{part}-" else part for part in parts),  # of one address
        hub=(repository, name),
        revision=revision or "main",
        licence="see its page",
        about=f"{name} of {repository}.",
    )


def _no_model(text: str) -> UserError:
    """The error for a model that is neither a name nor a file."""
    near = difflib.get_close_matches(text.lower(), known(), n=1, cutoff=0.6)
    advice = f"did you mean {near[0]}?" if near else "give one of these, which segearth weights list describes"
    return UserError(
        f"unknown model {text!r}: expected a name ({', '.join(known())}), or the path of CLIP weights or "
        f"hf://owner/name/file with their architecture; {advice}"
    )


def _no_architecture(text: str) -> UserError:
    """The error for weights without their architecture."""
    row = next((row for row in known().values() if getattr(row.file, "name", "") == Path(text).name), None)
    example = row.architecture if row is not None else "ViT-L-14"
    more = "" if row is None else f"; as the file of {row.name} it is {example}"
    return UserError(
        f"{option('model', text)} is a file: tell its {option('architecture')}, too, such as {example} (a name of "
        "open_clip.list_models() or a JSON file of open_clip): without -quickgelu as for LAION and RemoteCLIP, with it "
        f"as for OpenAI and MetaCLIP{more}"
    )
