"""Cache of encoded windows: a scene with other class names is mapped again without running the encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from torch import Tensor

from segearth.models.encoded_windows import EncodedGroup
from segearth.models.segearth import SegEarth
from segearth.windows import Window

MAX_WINDOWS = 2000  # 0.4 MB each with ViT-B/16 at 224 pixels, and up to a quarter more where blocks share windows


class EncodingCache:
    """Encodings of the most recently used scenes, of models that share one encoder.

    Args:
        max_windows: limit on the windows of all scenes together.
    """

    def __init__(self, max_windows: int = MAX_WINDOWS) -> None:
        self._max_windows = max_windows
        self._scenes: dict[str, SceneEncodings] = {}  # the most recently used is the last

    def for_scene(self, scene: str, windows: int) -> SceneEncodings | None:
        """Returns the encodings of a scene, creating them if needed; the least recently used scenes are dropped.

        Args:
            scene: key of the scene in the cache.
            windows: number of its windows.

        Returns:
            The encodings; None if the scene has more windows than the limit.
        """
        encodings = self._scenes.pop(scene, None)
        if windows > self._max_windows:
            return None
        if encodings is None or encodings.windows != windows:
            encodings = SceneEncodings(windows)
        self._scenes[scene] = encodings
        while sum(cached.windows for cached in self._scenes.values()) > self._max_windows:
            del self._scenes[next(iter(self._scenes))]
        encodings.reused = encodings.computed = 0
        return encodings


class SceneEncodings:
    """Encodings of one scene; passed to `predict_scene` as `window_logits`.

    The keys are hashes of the pixels, so a changed scene is encoded again.

    Attributes:
        windows: number of windows of the scene.
        reused: windows of the current map that were in the cache.
        computed: windows of the current map that the encoder computed.
    """

    def __init__(self, windows: int) -> None:
        self.windows = windows
        self.reused = self.computed = 0
        self._groups: dict[bytes, list[EncodedGroup]] = {}

    def __call__(
        self, model: SegEarth, picture: Tensor, windows: Sequence[Window], batch: int, max_memory_mb: float
    ) -> Iterator[tuple[Window, Tensor]]:
        """Yields the same values as `SegEarth.window_logits`, bit for bit."""
        digest = hashlib.blake2b(repr((tuple(picture.shape), list(windows), batch)).encode(), digest_size=32)
        digest.update(picture.contiguous().cpu().numpy().data)
        key = digest.digest()
        if (groups := self._groups.get(key)) is not None:
            self.reused += len(windows)
            yield from model.encoded_window_logits(picture, windows, groups)
            return
        self.computed += len(windows)
        new_groups: list[EncodedGroup] = []

        def keep(group: EncodedGroup) -> None:
            new_groups.append(group)
            if sum(len(new.windows) for new in new_groups) == len(windows):  # stored only when complete
                self._groups[key] = new_groups

        yield from model.window_logits(picture, windows, batch, max_memory_mb, keep)
