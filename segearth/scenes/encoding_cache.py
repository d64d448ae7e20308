"""What the words do not change of scenes, kept for a while: other words on the same one need the encoder no more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from torch import Tensor

from segearth.models.encoded_windows import EncodedGroup
from segearth.models.segearth import SegEarth
from segearth.windows import Window

MOST_WINDOWS = 2000  # 0.4 MB each with ViT-B/16 at 224 pixels, and up to a quarter more where blocks share windows


class KeptEncodings:
    """What models with one encoder have computed of the windows of some scenes, the newest ones.

    Args:
        most: windows of all scenes together.
    """

    def __init__(self, most: int = MOST_WINDOWS) -> None:
        self._most = most
        self._scenes: dict[str, SceneEncodings] = {}  # the last one used is the last

    def of(self, scene: str, windows: int) -> SceneEncodings | None:
        """What is kept of a scene, and will be; older ones make room for it.

        Args:
            scene: its name here.
            windows: that it has.

        Returns:
            None where it has more windows than are kept.
        """
        known = self._scenes.pop(scene, None)
        if windows > self._most:
            return None
        found = SceneEncodings(windows) if known is None or known.windows != windows else known
        self._scenes[scene] = found
        while sum(one.windows for one in self._scenes.values()) > self._most:
            del self._scenes[next(iter(self._scenes))]
        found.reused = found.computed = 0
        return found


class SceneEncodings:
    """Of one scene; it is what `predict_scene` takes as `window_logits`.

    What is kept is found by the pixels themselves, so that a scene that has changed is computed anew.

    Attributes:
        windows: that the scene has.
        reused: windows whose encoding was there, of the present map.
        computed: those that went through the encoder.
    """

    def __init__(self, windows: int) -> None:
        self.windows = windows
        self.reused = self.computed = 0
        self._groups: dict[bytes, list[EncodedGroup]] = {}

    def __call__(
        self, model: SegEarth, picture: Tensor, windows: Sequence[Window], batch: int, max_memory_mb: float
    ) -> Iterator[tuple[Window, Tensor]]:
        """As `SegEarth.window_logits`, with the same bits."""
        digest = hashlib.blake2b(repr((tuple(picture.shape), list(windows), batch)).encode(), digest_size=32)
        digest.update(picture.contiguous().cpu().numpy().data)
        key = digest.digest()
        if (groups := self._groups.get(key)) is not None:
            self.reused += len(windows)
            yield from model.encoded_window_logits(picture, windows, groups)
            return
        self.computed += len(windows)
        kept: list[EncodedGroup] = []

        def keep(group: EncodedGroup) -> None:
            kept.append(group)
            if sum(len(one.windows) for one in kept) == len(windows):  # whoever breaks off leaves nothing
                self._groups[key] = kept

        yield from model.window_logits(picture, windows, batch, max_memory_mb, keep)
