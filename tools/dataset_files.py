#!/usr/bin/env python3
"""Writes dataset_prepare.md and the configs of the data sets from their descriptions in segearth/datasets/sets/.

    python tools/dataset_files.py

A description and its class file, configs/cls_NAME.txt, are all that a data set needs; the rest is made here.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # runs from a checkout that is not installed

from segearth.datasets import DATASETS
from segearth.datasets.description import CLS_TOKEN_LAMBDA, Description, Variant

PAGE = ROOT / "dataset_prepare.md"
CONFIGS = ROOT / "configs"
_WIDTH = 120  # of the lines of a config

_HEAD = """# Data sets

Each set is one command away from its download, and a second one checks the result. Names are those of the configs
without `cfg_`. Sources are the archives (zip, tar) or the extracted folder, at any level; 7z and rar have to be
extracted first. The download may lie anywhere but where the result goes.

```text
segearth prepare NAME SOURCE... -o data
segearth check NAME --data-root data
```

In a checkout, `tools/prepare_dataset.py` and `tools/check_dataset.py` do the same.

A set with fewer images than expected is converted with a warning and `"complete": false` in its `manifest.json`
(`--strict`: an error). A run that was killed goes on where it was when the command is given again.

Without any download, `segearth sample-data` draws small samples in the layouts below: to try these commands, or a
program of your own. They are drawings and nothing of the data; no figure on them means anything.

```text
segearth sample-data NAME... -o samples
segearth prepare NAME samples/NAME -o data
```

Licences are as the publishers, or the pages named, state them, and sizes as users of the downloads report them. The
terms that come with your download are the ones that bind you.

This page and the configs are made from `segearth/datasets/sets/`: `python tools/dataset_files.py`.

| set | name | images | classes | figure |
|---|---|---|---|---|
"""


def page() -> str:
    """The text of dataset_prepare.md."""
    rows = "".join(
        f"| {spec.title} | `{spec.name}` | {_expected(spec)} | {len(spec.classes)} | {spec.metric} |\n"
        for spec in DATASETS.values()
    )
    return _HEAD + rows + "".join(map(_section, DATASETS.values()))


def _expected(spec: Description) -> str:
    return " or ".join(map(str, spec.expected))


def _section(spec: Description) -> str:
    """One set."""
    archives = list(dict.fromkeys(f.archive for f in (spec.images, spec.labels[0])))
    sources = " ".join(f"'{name}'" if " " in name else name for name in archives if name and "/" not in name)
    if not sources:
        sources = "GlobalRoadSet_Val" if "GlobalRoadSet" in spec.images.inside else "DOWNLOADS"
    inside = "; ".join(f"`{f.member(spec.examples[0])}`" for f in (spec.images, spec.labels[0]))
    cut = ""
    if spec.windows:
        (h, w), (dy, dx) = spec.windows.size, spec.windows.stride
        cut = f", cut into windows of {w} × {h} pixels (stride {dx} × {dy})"
    lines = [
        f"\n## {spec.title}\n",
        f"{spec.get}\n",
        f"- Source: {spec.source}",
        f"- Licence: {spec.licence}",
        f"- Size of the download: {spec.size}",
        f"- Evaluated: {spec.split}{cut}; expected images: {_expected(spec)}",
        f"- In the download: {inside}",
        f"- Written: `data/{spec.out_images}` ({spec.image_suffix}), `data/{spec.out_labels}` ({spec.label_suffix})",
        f"- Cite: {spec.citation}",
        *(f"- Note: {note}" for note in spec.notes),
        "\n```bash",
        f"segearth prepare {spec.name} {sources} -o data",
        f"segearth check {spec.name} --data-root data",
        "```\n",
    ]
    return "\n".join(lines)


def configs(spec: Description) -> dict[str, str]:
    """The names of a set's configs, and their texts."""
    texts = {variant.name: _variant(spec, variant) for variant in spec.variants}
    return {f"cfg_{name}.py": text for name, text in {spec.name: _config(spec), **texts}.items()}


def _config(spec: Description) -> str:
    """The config of a set: what differs from base_config.py and from what its class does by itself."""
    model = [
        f'name_path="./configs/{spec.prompts}",',
        f"prob_thd={spec.prob_thd},  # {spec.threshold_source.format(name=spec.name)}",
    ]
    if spec.bg_idx != 0:
        model.append(f"bg_idx={spec.bg_idx},  # the same; class {spec.bg_idx} is {spec.classes[spec.bg_idx]}")
    if spec.cls_token_lambda != CLS_TOKEN_LAMBDA:
        model.append(f"cls_token_lambda={spec.cls_token_lambda:g},  # the same; for this set alone")
    images, labels = f'"data/{spec.out_images}"', f'"data/{spec.out_labels}"'
    root = ""
    if len(_data_prefix(images, labels)) > _WIDTH:
        root = f'root = "data/{spec.folder}"\n'
        images, labels = (path.replace(f'"data/{spec.folder}', 'root + "') for path in (images, labels))
    dataset = [f'type="{spec.dataset_class}",']
    first = next((other for other in DATASETS.values() if other.dataset_class == spec.dataset_class), spec)
    if spec.image_suffix != first.image_suffix:
        dataset.append(f'img_suffix="{spec.image_suffix}",')
    if spec.label_suffix != first.label_suffix:
        dataset.append(f'seg_map_suffix="{spec.label_suffix}",')
    return (
        f'"""{spec.summary}"""\n\n_base_ = "./base_config.py"\n\n{root}'
        f"model = dict(\n{_lines(model, 4)})\n"
        f"test_dataloader = dict(\n    dataset=dict(\n{_lines(dataset, 8)}{_data_prefix(images, labels)}\n    )\n)\n"
    )


def _data_prefix(images: str, labels: str) -> str:
    """The line that says where images and labels are."""
    return f"        data_prefix=dict(img_path={images}, seg_map_path={labels}),"


def _lines(texts: list[str], spaces: int) -> str:
    return "".join(f"{' ' * spaces}{text}\n" for text in texts)


def _variant(spec: Description, variant: Variant) -> str:
    """The config of other prompts."""
    return (
        f'"""{variant.summary}\n\n{textwrap.fill(variant.about, _WIDTH, break_on_hyphens=False)}\n"""\n\n'
        f'_base_ = "./cfg_{spec.name}.py"\n\n# {variant.source}; prob_thd and bg_idx stay\n'
        f'model = dict(name_path="./configs/{variant.prompts}")\n'
    )


def files() -> dict[Path, str]:
    """All files that are made from descriptions, and what they should hold."""
    texts = {CONFIGS / name: text for spec in DATASETS.values() for name, text in configs(spec).items()}
    return {PAGE: page(), **texts}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
