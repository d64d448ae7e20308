"""oneDNN's products: asked for where they are fast and exact, seen to be exact, and only then used."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from segearth.compute import arithmetic
from segearth.errors import UserError
from segearth.models import onednn
from segearth.models.onednn import onednn_is_used, use_onednn
from segearth.models.precision import true_float32
from segearth.provenance import versions

pytestmark = pytest.mark.skipif(not hasattr(torch.backends.mkldnn, "matmul"), reason="torch before 2.9")

FAST = {"avx512_f": True, "amx_tile": False}


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.delenv("SEGEARTH_ONEDNN")
    monkeypatch.setattr(onednn, "TILES", 8)
    monkeypatch.setattr(onednn, "OUT", 256)
    onednn._fault.cache_clear()
    yield
    use_onednn(False)
    onednn._fault.cache_clear()


@pytest.fixture
def processor(monkeypatch):
    """Says which instructions there are."""

    def has(**capabilities):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: FAST | capabilities)
        monkeypatch.setattr("platform.machine", lambda: "x86_64")

    has()
    return has


def setting():
    return torch.backends.mkldnn.matmul.fp32_precision


@pytest.mark.usefixtures("processor")
def test_it_is_used_where_it_is_fast_and_exact():
    assert (onednn_is_used(), "float32 products" in versions()) == (False, False)
    assert use_onednn() is None
    assert (onednn_is_used(), setting(), versions()["float32 products"]) == (True, "bf16", "oneDNN")
    assert (arithmetic(torch.device("cpu")), arithmetic(torch.device("cuda"))) == ("cpu, products by oneDNN", "cuda")
    assert use_onednn(False) is None
    assert (onednn_is_used(), setting(), arithmetic(torch.device("cpu"))) == (False, "none", "cpu")


@pytest.mark.usefixtures("processor")
def test_it_stays_used_after_true_float32():
    """Which sets what all backends may round; a product that was seen not to round is true float32."""
    use_onednn()
    with true_float32():
        assert setting() == "bf16"
    assert setting() == "bf16"


def test_what_somebody_else_allows_is_not_used_but_put_back():
    """Nobody has seen whether that rounds."""
    matmul = torch.backends.mkldnn.matmul
    try:
        for allowed in ("bf16", "none"):
            matmul.fp32_precision = allowed
            with true_float32():
                assert setting() == "ieee"
            assert setting() == allowed
        with torch.backends.mkldnn.flags(enabled=None, deterministic=None, allow_tf32=None, fp32_precision="bf16"):
            with true_float32():
                assert setting() == "ieee"
            assert setting() == "bf16"
        assert setting() == "none"
    finally:
        matmul.fp32_precision = "none"


@pytest.mark.parametrize(
    ("capabilities", "reason"),
    [({"amx_tile": True}, "has AMX, where it would round"), ({"avx512_f": False}, "has no AVX-512")],
)
def test_processors_on_which_it_is_not_tried(processor, capabilities, reason):
    processor(**capabilities)
    assert reason in use_onednn()
    assert (onednn_is_used(), setting() == "bf16") == (False, False)


@pytest.mark.usefixtures("processor")
def test_it_is_not_tried_on_others_nor_where_nobody_wants_it(monkeypatch):
    monkeypatch.setenv("SEGEARTH_ONEDNN", "0")
    assert use_onednn() == "SEGEARTH_ONEDNN is 0"
    monkeypatch.setenv("SEGEARTH_ONEDNN", "1")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert "on aarch64" in use_onednn()


@pytest.mark.usefixtures("processor")
def test_workers_of_a_map_compute_as_the_process_that_asks_for_it(monkeypatch):
    """Whatever they found in their own environment; where they cannot, they say so."""
    pytest.importorskip("rasterio", reason="scenes need the extra geo")
    from scenemodels import mini_predictor

    from segearth.scenes.tasks import Loaded

    plain = Loaded.for_processes(mini_predictor())
    use_onednn()
    fast = Loaded.for_processes(mini_predictor())
    for load, used in ((plain, False), (fast, True), (plain, False)):
        load()
        assert onednn_is_used() == used
    monkeypatch.setenv("SEGEARTH_ONEDNN", "0")
    plain()
    with pytest.raises(UserError, match="here they cannot be: SEGEARTH_ONEDNN is 0"):
        fast()


def rounded(vectors, weight):
    return F.linear(vectors.bfloat16(), weight.bfloat16()).float()


def by_company(vectors, weight):
    """Other last bits for few rows than for many."""
    return F.linear(vectors, weight) * (1 + 2e-7 * (len(vectors) > 400))


def by_threads(vectors, weight):
    return F.linear(vectors, weight) * (1 + 2e-7 * (torch.get_num_threads() > 1))


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(
    ("product", "reason"),
    [(rounded, "wrong by"), (by_company, "number of windows"), (by_threads, "number of threads")],
)
def test_products_that_are_not_as_they_should_be(monkeypatch, product, reason):
    torch.set_num_threads(2)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(onednn, "F", type("F", (), {"linear": staticmethod(product)}))
            assert reason in use_onednn()
        assert (onednn_is_used(), setting(), torch.get_num_threads()) == (False, "none", 2)
    finally:
        torch.set_num_threads(1)


def test_commands_use_it_and_imports_do_not():
    """In a process of its own, on whatever processor this is."""
    code = """if True:
        import segearth.loading, segearth.predictor, torch
        from segearth.models.onednn import onednn_is_used, use_onednn
        assert not onednn_is_used() and torch.backends.mkldnn.matmul.fp32_precision == "none"
        from segearth.cli.doctor import devices
        told = devices()["float32 products"]
        assert onednn_is_used() == (told == "by oneDNN"), told
        assert onednn_is_used() == (use_onednn() is None)
        assert told == "by oneDNN" or "not by oneDNN, as " in told"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
