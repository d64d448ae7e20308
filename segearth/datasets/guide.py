"""dataset_prepare.md, made from the descriptions: python -m segearth.datasets.guide > dataset_prepare.md."""

from __future__ import annotations

from segearth.datasets import DATASETS
from segearth.datasets.description import Description

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

This page is made from `segearth/datasets/`: `python -m segearth.datasets.guide > dataset_prepare.md`.

| set | name | images | classes | figure |
|---|---|---|---|---|
"""


def guide() -> str:
    """The text of the page."""
    rows = "".join(
        f"| {of.title} | `{of.name}` | {_expected(of)} | {len(of.classes)} | {of.metric} |\n"
        for of in DATASETS.values()
    )
    return _HEAD + rows + "".join(map(_section, DATASETS.values()))


def _expected(of: Description) -> str:
    return " or ".join(map(str, of.expected))


def _section(of: Description) -> str:
    """One set."""
    archives = list(dict.fromkeys(f.archive for f in (of.images, of.labels[0])))
    sources = " ".join(f"'{name}'" if " " in name else name for name in archives if name and "/" not in name)
    if not sources:
        sources = "GlobalRoadSet_Val" if "GlobalRoadSet" in of.images.inside else "DOWNLOADS"
    inside = "; ".join(f"`{f.member(of.examples[0])}`" for f in (of.images, of.labels[0]))
    cut = ""
    if of.windows:
        (h, w), (dy, dx) = of.windows.size, of.windows.stride
        cut = f", cut into windows of {w} × {h} pixels (stride {dx} × {dy})"
    lines = [
        f"\n## {of.title}\n",
        f"{of.get}\n",
        f"- Source: {of.source}",
        f"- Licence: {of.licence}",
        f"- Size of the download: {of.size}",
        f"- Evaluated: {of.split}{cut}; expected images: {_expected(of)}",
        f"- In the download: {inside}",
        f"- Written: `data/{of.out_images}` ({of.image_suffix}), `data/{of.out_labels}` ({of.label_suffix})",
        f"- Cite: {of.citation}",
        *(f"- Note: {trap}" for trap in of.traps),
        "\n```bash",
        f"segearth prepare {of.name} {sources} -o data",
        f"segearth check {of.name} --data-root data",
        "```\n",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(guide(), end="")
