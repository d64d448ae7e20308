"""A block as a task: it reads its part of the raster, maps it, writes its files, and says in a few numbers how it was.

A task travels to other processes, its model does not: each process loads it once, by its recipe.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from segearth.addresses import shown
from segearth.compute import even_threads
from segearth.errors import UserError, option
from segearth.loading import load_model
from segearth.models.onednn import SWITCH, onednn_is_used, use_onednn
from segearth.predictor import Predictor, Recipe
from segearth.scenes.block_files import part_path, part_writer
from segearth.scenes.blocks import BlockSettings, WindowLogits, map_block
from segearth.scenes.grid import Block, Frame
from segearth.scenes.identity import check_same
from segearth.scenes.layers import Layer
from segearth.scenes.raster import Raster, open_raster
from segearth.scenes.raster_spec import RasterSpec
from segearth.scenes.scene_summary import ClassSums
from segearth.vocabulary import Vocabulary


@dataclass(frozen=True)
class Loaded:
    """A predictor for whatever process asks for it.

    Attributes:
        recipe: how its model is loaded; None: it travels itself.
        predictor: it; None in place of what a recipe gives.
        vocabulary: of the predictor.
        threshold: likewise.
        onednn: whether oneDNN computes products, as in the process that asks for the map.
    """

    recipe: Recipe | None
    predictor: Predictor | None
    vocabulary: Vocabulary
    threshold: float
    onednn: bool

    @classmethod
    def for_processes(cls, predictor: Predictor) -> Loaded:
        """One that other processes can use: by its recipe, if it has one."""
        held = predictor if predictor.recipe is None else None
        return cls(predictor.recipe, held, predictor.vocabulary, predictor.threshold, onednn_is_used())

    @classmethod
    def here(cls, predictor: Predictor) -> Loaded:
        """One for this process."""
        return cls(None, predictor, predictor.vocabulary, predictor.threshold, onednn_is_used())

    def __call__(self) -> Predictor:
        """The predictor.

        Raises:
            UserError: this computer's oneDNN is not as that of the process that asks.
        """
        if self.onednn != onednn_is_used() and (reason := use_onednn(self.onednn)) is not None:
            raise UserError(
                f"float32 products are by oneDNN where this map was begun, and here they cannot be: {reason}; expected "
                f"computers that are alike; set {SWITCH}=0 for all"
            )
        if self.predictor is not None:
            return self.predictor
        assert self.recipe is not None  # one of them is there
        return _load(self.recipe, self.vocabulary, self.threshold)


@lru_cache(maxsize=1)
def _load(recipe: Recipe, vocabulary: Vocabulary, threshold: float) -> Predictor:
    return load_model(classes=vocabulary, threshold=threshold, progress=False, **dict(recipe))


@dataclass(frozen=True)
class BlockTask:
    """Maps a block, by its name.

    Attributes:
        raster: how the scene is read; or, for this process, the scene itself.
        frame: its grids.
        blocks: by their names.
        settings: how they are mapped.
        layers: what is written.
        folder: where.
        load: gives the predictor.
        rows_done: called with the number of pixels whenever rows of a block are finished; None in other processes.
        window_logits: as of `map_block`; None in other processes.
    """

    raster: RasterSpec | Raster
    frame: Frame
    blocks: dict[str, Block]
    settings: BlockSettings
    layers: tuple[Layer, ...]
    folder: Path
    load: Loaded
    rows_done: Callable[[int], None] | None = None
    window_logits: WindowLogits | None = None

    def __post_init__(self) -> None:
        """Makes sure that other processes, which open the raster by its address, will have the same one.

        Raises:
            UserError: they will not.
        """
        if not isinstance(self.raster, RasterSpec):
            return
        try:
            with open_raster(self.raster) as raster:
                check_same(raster)
        except UserError:
            raise UserError(
                f"other processes cannot open {shown(self.raster.address)} as it is open here: expected a raster that "
                f"is the same for all; save it as a file, or take {option('workers', 1)}"
            ) from None

    @even_threads()
    def __call__(self, key: str) -> dict[str, Any]:
        """What became of a block: `windows` computed, `seconds`, `sums` (see `ClassSums`), `sizes` of its files.

        A block without a valid pixel has no files.
        """
        begun, block, windows = time.perf_counter(), self.blocks[key], 0
        predictor = self.load()
        classes, sums = len(predictor.vocabulary), ClassSums.total((), len(predictor.vocabulary))

        def count(number: int) -> None:
            nonlocal windows
            windows += number

        sizes: dict[str, int] = {}
        with open_raster(self.raster) if isinstance(self.raster, RasterSpec) else nullcontext(self.raster) as raster:
            if raster is not self.raster:
                check_same(raster)
            rows = map_block(block.area, self.frame, raster.read, predictor, self.settings, count, self.window_logits)
            first = next(rows, None)
            if first is not None:
                with part_writer(self.folder, block, self.layers) as writer:
                    for found in chain((first,), rows):
                        layers = found.layers()
                        writer.write(layers)
                        own = ClassSums.of(found.labels, layers["confidence"], classes)
                        sums = ClassSums.total((sums, own), classes)
                        if self.rows_done is not None:
                            self.rows_done(found.labels.size)
                sizes = writer.sizes
            check_same(raster)  # as far as the block's pixels were read, it was
        seconds = time.perf_counter() - begun
        return {"windows": windows, "seconds": round(seconds, 3), "sums": sums.to_lists(), "sizes": sizes}

    def is_there(self, key: str, value: Any) -> bool:
        """Whether what a task returned still holds: the files that are wanted are there, as long as they were.

        Args:
            key: of a block.
            value: what a ledger says that the task returned; it may be anything.
        """
        try:
            sums, sizes = ClassSums.from_lists(value["sums"]), dict(value["sizes"])
            paths = {layer.name: part_path(self.folder, self.blocks[key], layer) for layer in self.layers if sizes}
            complete = sums.pixels.shape == sums.confidence.shape == (len(self.load.vocabulary) + 1,)
            return complete and all(sizes[name] == path.stat().st_size for name, path in paths.items())
        except (LookupError, TypeError, ValueError, OverflowError, OSError):
            return False
