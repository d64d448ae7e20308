"""An encoder as a CUDA graph: one launch instead of some 160, for a GPU that waits for the processor."""

from __future__ import annotations

from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segearth.models.dense_clip import DenseCLIP

# With more windows, or in float32, the GPU is the slower one. (ViT-B/16 on an H200: 3 ms to launch, 1.4 ms to compute
# nine windows in float16.)
MOST_WINDOWS = 16
MOST_GRAPHS = 4  # each keeps its activations
SEEN_BEFORE = 2  # a shape that does not come back is not worth a graph


class _Graph(NamedTuple):
    graph: Any  # torch.cuda.CUDAGraph
    image: Tensor
    features: Tensor
    cls: Tensor | None


class Replay:
    """Calls a `DenseCLIP`, and repeats calls of the same shape by graphs, which give the same numbers."""

    def __init__(self) -> None:
        self.seen: dict[tuple[object, ...], int] = {}
        self.graphs: dict[tuple[object, ...], _Graph] = {}
        self.lock = Lock()

    def __reduce__(self) -> tuple[type[Replay], tuple[()]]:
        return Replay, ()  # a copied model makes its own

    def __call__(self, encoder: DenseCLIP, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """`encoder(image)`."""
        if not image.is_cuda or len(image) > MOST_WINDOWS or torch.is_grad_enabled() or encoder.training:
            return encoder(image)
        if encoder.visual.conv1.weight.dtype not in (torch.float16, torch.bfloat16):
            return encoder(image)
        # a graph reads the weights where they were when it was made
        weights = tuple(parameter.data_ptr() for parameter in encoder.parameters())
        key = (
            image.shape, image.dtype, torch.cuda.current_stream(image.device), encoder.method, encoder.options,
            weights,
        )  # fmt: skip
        with self.lock:
            graph = self.graphs.pop(key, None)
            if graph is None:
                self.seen = {key: self.seen.get(key, 0) + 1}  # only the last: graphs are for runs of one shape
                if self.seen[key] <= SEEN_BEFORE:
                    return encoder(image)
                graph = _capture(encoder, image)
            self.graphs[key] = graph  # the last one used is the last to go
            while len(self.graphs) > MOST_GRAPHS:
                del self.graphs[next(iter(self.graphs))]
            graph.image.copy_(image)
            graph.graph.replay()
            return graph.features.clone(), None if graph.cls is None else graph.cls.clone()


@torch.inference_mode(False)  # what a graph works on outlives the call: ordinary tensors
@torch.no_grad()
def _capture(encoder: DenseCLIP, image: Tensor) -> _Graph:
    static = image.clone()
    with torch.cuda.device(image.device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            encoder(static)  # what a library allocates in its first call on a stream is not in the graph
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            features, cls = encoder(static)
    return _Graph(graph, static, features, cls)
