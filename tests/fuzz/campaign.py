"""Many cases, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import torch

from fuzz.children import Kind, Outcome, run

KINDS = {"images": "Images", "checkpoints": "Checkpoints", "class_lists": "ClassLists", "archives": "Archives"}


def kinds(folder: Path, names: Sequence[str] | None = None) -> list[Kind]:
    """Kinds by name, ready to be forked; by default all of them.

    Args:
        folder: for what they keep.
        names: of the kinds.
    """
    torch.set_num_threads(1)  # threads would not be in the children
    return [getattr(import_module(f"fuzz.{name}"), KINDS[name])(folder) for name in names or KINDS]


def run_cases(
    chosen: Sequence[Kind],
    cases: int,
    seed: int,
    folder: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Runs cases of some kinds in turn.

    Args:
        chosen: the kinds.
        cases: of all kinds together.
        seed: of all of them.
        folder: for their files.
        tell: told each finding, at once.
    """
    outcomes = []
    for i in range(cases):
        outcome = run(chosen[i % len(chosen)], i // len(chosen), seed, folder)
        outcomes.append(outcome)
        if outcome.is_finding:
            tell(f"{outcome.name} (seed {seed}): {outcome.verdict}\n{outcome.detail}")
    return outcomes


def figures(outcomes: Sequence[Outcome]) -> str:
    """A line for each kind: how many cases, what became of them, and the most that one took."""
    lines = [f"{'kind':<12} cases accepted refused findings longest (CPU s) most memory (MB)"]
    for kind in dict.fromkeys(one.name.partition("/")[0] for one in outcomes):
        own = [one for one in outcomes if one.name.startswith(f"{kind}/")]
        counts = [sum(one.verdict == verdict for one in own) for verdict in ("accepted", "refused")]
        slowest, largest = max(own, key=lambda one: one.seconds), max(own, key=lambda one: one.memory)
        lines.append(
            f"{kind:<12} {len(own):5} {counts[0]:8} {counts[1]:7} {sum(one.is_finding for one in own):8} "
            f"{slowest.seconds:8.2f} {slowest.name:<18} {largest.memory / 2**20:6.0f} {largest.name}"
        )
    return "\n".join(lines)
