"""From weights on disk to their model card: the whole evaluation in one call."""

from __future__ import annotations

from pathlib import Path

from segearth.checkpoints import read_notes
from segearth.loading import load_clip, read_upsampler
from tiny_clip.card import write_card
from tiny_clip.evaluation import evaluate, held_out_sets
from tiny_clip.sources import POOL_SEEDS, Sample, draw_samples, read_folder

FLOOR_SCENES = 8  # drawn for the colour classifier, where the training's are not at hand


def report_on(
    weights: Path,
    config: Path,
    data: Path | None,
    samples: Path | None,
    training: list[Sample] | None = None,
    scene_size: int = 1024,
    card: Path | None = None,
    simfeatup: Path | None = None,
    upsamplers: Path | None = None,
) -> Path:
    """Measures a small CLIP on everything it did not see, and writes its model card.

    Args:
        weights: safetensors.
        config: the architecture.
        data: folder of the open image sets, or None.
        samples: folder with LoveDA in it, or None.
        training: what the colour classifier learns from; read and drawn again if None.
        scene_size: side of the drawn scenes in pixels.
        card: the file to write; None for one beside the weights.
        simfeatup: the CLIP's own upsampler; None for bilinear upsampling.
        upsamplers: folder of the ablation's upsamplers, or None.

    Returns:
        The card.
    """
    clip = load_clip(weights, str(config))
    if training is None:
        training = [] if data is None else read_folder(data)
        training += draw_samples(range(POOL_SEEDS, POOL_SEEDS + FLOOR_SCENES), scene_size, workers=0)
    eurosat = [] if data is None else [s for s in read_folder(data, held_out=True) if s.source == "eurosat100"]
    own = None if simfeatup is None else read_upsampler(simfeatup)
    report = evaluate(clip, held_out_sets(data, samples, scene_size), training, eurosat, own, upsamplers)
    card = card or weights.with_suffix(".md")
    upsampler = None if simfeatup is None else (simfeatup, read_notes(simfeatup))
    write_card(card, report, read_notes(weights), weights, upsampler)
    print(f"wrote {card}")
    return card
