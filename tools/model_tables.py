#!/usr/bin/env python3
"""Writes the tables of CLIPs and of architectures into docs/models.md, from segearth's own table and from open_clip.

    python tools/model_tables.py

replaces what is between the marks `<!-- clips -->` and `<!-- architectures -->` and `<!-- end -->`.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

import open_clip
import torch

from segearth.architectures import build_clip, clip_config
from segearth.clips import CLIPS, Spec
from segearth.errors import UserError
from segearth.files import File
from segearth.models import DenseCLIP

PAGE = Path(__file__).parents[1] / "docs" / "models.md"


def updated(text: str) -> str:
    """The page with the present tables."""
    for mark, table in (("clips", clips()), ("architectures", architectures())):
        text = re.sub(rf"(<!-- {mark} -->\n).*?(<!-- end -->)", rf"\g<1>\n{table}\n\g<2>", text, flags=re.DOTALL)
    return text


def clips() -> str:
    """A line for each CLIP: what it is, and how the two ways of naming it differ."""
    head = (
        "| name | `clip_type`, `vit_type` | patch | images | width | activation | hash | download | licence | paper |\n"
    )
    return head + "|---|---|---|---|---|---|---|---|---|---|\n" + "".join(_clip(row) for row in CLIPS.values())


def _clip(row: Spec) -> str:
    file = row.file
    pair = f"{row.family}, {row.vit_type}"
    activation = row.activation or "quick GELU"
    if row.difference:
        activation += f"; the pair: {row.difference.partition(' instead')[0]}"
    size = file.size_text if isinstance(file, File) else "in the package"
    known = "yes" if file.sha256 and not getattr(file, "member", "") else "no"  # type: ignore[union-attr]
    where = file.address if isinstance(file, File) else ""
    size = size.replace("a size that is not known", "size not known")
    size = f"[{size}]({where})" if where else f"{size}; no address confirmed" if isinstance(file, File) else size
    paper = "" if row.published is None else f"{row.published}"
    return (
        f"| `{row.name}` | {pair} | {row.patch} | {row.size} | {row.width} | {activation} | {known} | {size} | "
        f"{file.licence} | {paper} |\n"  # type: ignore[union-attr]
    )


def architectures() -> str:
    """Two columns: what open_clip builds of its own ViT and text tower, and what works here."""
    built = list(_built())
    works = {name for name in built if runs(name)}
    lines = [f"| `{name}` | {f'`{name}`' if name in works else _why(name)} |\n" for name in built]
    count = f"open_clip {open_clip.__version__} builds ({len(built)} of {len(open_clip.list_models())})"
    return f"| {count} | works ({len(works)}) |\n|---|---|\n{''.join(lines)}"


def _built() -> Iterator[str]:
    """The names of open_clip whose image and text tower are its own, and a ViT."""
    for name in open_clip.list_models():
        config = clip_config(name)
        vision, text = config["vision_cfg"], config["text_cfg"]
        if "timm_model_name" in vision or "hf_model_name" in text or isinstance(vision["layers"], list):
            continue
        parts = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")
        with torch.device("meta"):
            open_clip.CLIP(**{key: value for key, value in _shallow(config).items() if key in parts})
        yield name


def _shallow(config: dict[str, Any]) -> dict[str, Any]:
    """An architecture with one layer in each tower: all others are like it."""
    config = copy.deepcopy(config)
    for tower in ("vision_cfg", "text_cfg"):
        config[tower]["layers"] = 1
    return config


def runs(name: str) -> bool:
    """Whether an image and a text of CLIP's own tokens go through it to features of one width, on the meta device."""
    config = clip_config(name)
    side = config["vision_cfg"]["image_size"]
    try:
        with torch.device("meta"):
            clip: Any = build_clip(_shallow(config), name)
            features, cls = DenseCLIP(clip)(torch.zeros(1, 3, side, side))
            text = clip.encode_text(torch.zeros(1, clip.context_length, dtype=torch.long))
    except UserError:
        return False
    patches = side // config["vision_cfg"]["patch_size"]
    width = config["embed_dim"]
    assert cls is not None
    return (features.shape, cls.shape, text.shape) == ((1, width, patches, patches), (1, width), (1, width))


def _why(name: str) -> str:
    """Why it does not work, in a few words."""
    if name.startswith("coca"):
        return "no: CoCa's pooler and [CLS] token of texts"
    if "worldwide" in name:
        return "no: another tokenizer"
    return "no: another tokenizer and order of norms"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
