"""Task that maps one block: reads its part of the raster, writes its files, and returns statistics.

Tasks are pickled and sent to other processes, but without the model: each process loads it once, from its recipe.
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

from segearth.addresses import display_name
from segearth.compute import even_threads
from segearth.errors import UserError, option
from segearth.loading import load_model
from segearth.models.onednn import SWITCH, onednn_is_used, use_onednn
from segearth.predictor import Predictor, Recipe
from segearth.scenes.block_files import block_path, block_writer
from segearth.scenes.blocks import BlockSettings, WindowLogits, map_block
from segearth.scenes.grid import Block, Frame
from segearth.scenes.identity import check_unchanged
from segearth.scenes.layers import Layer
from segearth.scenes.raster import Raster, open_raster
from segearth.scenes.raster_spec import RasterSpec
from segearth.scenes.scene_summary import ClassSums
from segearth.vocabulary import Vocabulary


@dataclass(frozen=True)
class PredictorFactory:
    """Creates the predictor in any process.

    Attributes:
        recipe: arguments for loading the model; None: `predictor` itself is pickled.
        predictor: the predictor; None: it is loaded from the recipe.
        vocabulary: of the predictor.
        threshold: of the predictor.
        onednn: whether oneDNN computes matrix products, as in the main process.
    """

    recipe: Recipe | None
    predictor: Predictor | None
    vocabulary: Vocabulary
    threshold: float
    onednn: bool

    @classmethod
    def for_workers(cls, predictor: Predictor) -> PredictorFactory:
        """Creates a factory for other processes, from the recipe of the predictor if it has one."""
        pickled = predictor if predictor.recipe is None else None
        return cls(predictor.recipe, pickled, predictor.vocabulary, predictor.threshold, onednn_is_used())

    @classmethod
    def for_this_process(cls, predictor: Predictor) -> PredictorFactory:
        """Creates a factory for this process."""
        return cls(None, predictor, predictor.vocabulary, predictor.threshold, onednn_is_used())

    def __call__(self) -> Predictor:
        """Returns the predictor.

        Raises:
            UserError: oneDNN is not available as in the main process.
        """
        if self.onednn != onednn_is_used() and (reason := use_onednn(self.onednn)) is not None:
            raise UserError(
                f"this map was started with oneDNN for float32 products, which is not possible here: {reason}; "
                f"expected computers of one kind; set {SWITCH}=0 for all"
            )
        if self.predictor is not None:
            return self.predictor
        assert self.recipe is not None  # else there is a predictor
        return _load_predictor(self.recipe, self.vocabulary, self.threshold)


@lru_cache(maxsize=1)
def _load_predictor(recipe: Recipe, vocabulary: Vocabulary, threshold: float) -> Predictor:
    return load_model(classes=vocabulary, threshold=threshold, progress=False, **dict(recipe))


@dataclass(frozen=True)
class BlockTask:
    """Maps a block, given by its name.

    Attributes:
        raster: spec of the raster; or, in this process, the open raster.
        frame: grids of the scene.
        blocks: all blocks, by name.
        settings: settings for mapping blocks.
        layers: layers to write.
        folder: folder of the block files.
        load: creates the predictor.
        rows_done: called with the number of newly finished pixels; None in other processes.
        window_logits: as of `map_block`; None in other processes.
    """

    raster: RasterSpec | Raster
    frame: Frame
    blocks: dict[str, Block]
    settings: BlockSettings
    layers: tuple[Layer, ...]
    folder: Path
    load: PredictorFactory
    rows_done: Callable[[int], None] | None = None
    window_logits: WindowLogits | None = None

    def __post_init__(self) -> None:
        """Checks that other processes, which open the raster by its address, will read the same raster.

        Raises:
            UserError: the raster cannot be opened by its address, or is another one there.
        """
        if not isinstance(self.raster, RasterSpec):
            return
        try:
            with open_raster(self.raster) as raster:
                check_unchanged(raster)
        except UserError:
            raise UserError(
                f"other processes cannot open {display_name(self.raster.address)} as it is open here: expected a "
                f"raster that is the same for all; save it as a file, or take {option('workers', 1)}"
            ) from None

    @even_threads()
    def __call__(self, key: str) -> dict[str, Any]:
        """Maps a block; returns `windows` computed, `seconds`, `sums` (see `ClassSums`) and `sizes` of its files.

        A block without valid pixels has no files.
        """
        start, block, windows = time.perf_counter(), self.blocks[key], 0
        predictor = self.load()
        classes, sums = len(predictor.vocabulary), ClassSums.total((), len(predictor.vocabulary))

        def count(number: int) -> None:
            nonlocal windows
            windows += number

        sizes: dict[str, int] = {}
        with open_raster(self.raster) if isinstance(self.raster, RasterSpec) else nullcontext(self.raster) as raster:
            if raster is not self.raster:
                check_unchanged(raster)
            rows = map_block(block.area, self.frame, raster.read, predictor, self.settings, count, self.window_logits)
            first = next(rows, None)
            if first is not None:
                with block_writer(self.folder, block, self.layers) as writer:
                    for block_rows in chain((first,), rows):
                        layers = block_rows.layers()
                        writer.write(layers)
                        row_sums = ClassSums.from_arrays(block_rows.labels, layers["confidence"], classes)
                        sums = ClassSums.total((sums, row_sums), classes)
                        if self.rows_done is not None:
                            self.rows_done(block_rows.labels.size)
                sizes = writer.sizes
            check_unchanged(raster)  # it has not changed while the block was read
        seconds = time.perf_counter() - start
        return {"windows": windows, "seconds": round(seconds, 3), "sums": sums.to_lists(), "sizes": sizes}

    def is_complete(self, key: str, value: Any) -> bool:
        """Whether the files of a finished block exist with the recorded sizes.

        Args:
            key: name of the block.
            value: result of the task from the ledger; may be invalid.
        """
        try:
            sums, sizes = ClassSums.from_lists(value["sums"]), dict(value["sizes"])
            paths = {layer.name: block_path(self.folder, self.blocks[key], layer) for layer in self.layers if sizes}
            complete = sums.pixels.shape == sums.confidence.shape == (len(self.load.vocabulary) + 1,)
            return complete and all(sizes[name] == path.stat().st_size for name, path in paths.items())
        except (LookupError, TypeError, ValueError, OverflowError, OSError):
            return False
