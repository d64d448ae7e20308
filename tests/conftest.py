"""A tiny random CLIP stands in for the real one; real data only where the environment names it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import open_clip
import pytest
import torch

from segearth.datasets import describe
from segearth.datasets.samples import Drawn, draw_pairs, write_sample
from segearth.loading import load_tokenizer
from segearth.models.attention import METHODS
from segearth.vocabulary import Vocabulary

# Where the extra "eval" is not installed, all else is tested.
if importlib.util.find_spec("mmseg") is None:
    collect_ignore_glob = ["test_eval*.py", "test_openmmlab.py", "test_reading.py", "test_results.py"]

MINI = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": 7, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


def mini_clip(**vision: int) -> open_clip.CLIP:
    """A random CLIP of the usual architecture; keywords change its image tower."""
    torch.manual_seed(0)
    return open_clip.CLIP(**{**MINI, "vision_cfg": {**MINI["vision_cfg"], **vision}}).eval()


@pytest.fixture(scope="session")
def web_worker():
    """The process that computes for the page: one for all tests, with `tiny` without its upsampler, which is slow."""
    from segearth.web.client import WorkerClient
    from segearth.web.worker import ModelSetup

    own = WorkerClient(ModelSetup("tiny", upsampler="bilinear", threads=1))
    yield own
    own.close()


def load_script(path: str) -> ModuleType:
    """The module of a script, which is in no package: demo.py, tools/benchmark.py."""
    file = Path(__file__).parents[1] / path
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """So small a model is no faster with more, and on a busy machine ten times slower: threads wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def methods_of_the_package() -> Iterator[None]:
    """What a test or a document adds to the table of methods is gone afterwards."""
    table = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(table)


@pytest.fixture(autouse=True, scope="session")
def ctrl_c() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would all that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def products_of_torch() -> None:
    """So that a command that runs in this process does not change the bits of later tests; 1 tests all with oneDNN."""
    os.environ.setdefault("SEGEARTH_ONEDNN", "0")


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request) -> torch.device:
    """The processor, and the GPU where there is one."""
    return torch.device("cpu") if request.param == "cpu" else gpu_or_skip()


@pytest.fixture
def gpu() -> torch.device:
    """The GPU, for tests that say nothing without one; they are marked `gpu`."""
    return gpu_or_skip()


def gpu_or_skip() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    pytest.skip("there is no GPU here: run pytest -m gpu on a machine with one")


@pytest.fixture(scope="session")
def clip() -> open_clip.CLIP:
    return mini_clip()


@pytest.fixture(scope="session")
def tokenizer():
    return load_tokenizer(77)


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.from_string("road; tree,forest; building,roof,house")


@pytest.fixture
def photo() -> np.ndarray:
    """A smooth random picture (90, 130, 3) uint8."""
    small = torch.rand(1, 3, 9, 13, generator=torch.Generator().manual_seed(1))
    large = torch.nn.functional.interpolate(small, size=(90, 130), mode="bilinear")
    return (255 * large[0].permute(1, 2, 0)).byte().numpy()


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Callable[..., tuple[Path, dict[str, Drawn]]]:
    """A drawn download of a set, as archives or `extracted`, and what was drawn; to be read only."""
    drawn, written = {}, {}

    def draw(name: str, extracted: bool = False) -> tuple[Path, dict[str, Drawn]]:
        of = describe(name)
        if of.name not in drawn:
            drawn[of.name] = draw_pairs(of)
        if (name, extracted) not in written:
            written[name, extracted] = tmp_path_factory.mktemp("sample") / name
            write_sample(of, written[name, extracted], drawn[of.name], extracted=extracted)
        return written[name, extracted], drawn[of.name]

    return draw


@pytest.fixture
def small(sample, tmp_path) -> Path:
    """Three drawn pairs of LoveDA as an extracted folder of one's own."""
    return Path(shutil.copytree(sample("loveda", extracted=True)[0], tmp_path / "dl"))


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of golden values and real samples, where there is one."""
    name = os.environ.get("SEGEARTH_TEST_DATA")
    if not name or not Path(name).is_dir():
        pytest.skip("set SEGEARTH_TEST_DATA to the folder with golden/, samples/ and weights/ to run this")
    return Path(name)
