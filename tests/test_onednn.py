"""oneDNN's products: asked for where they are fast and exact, seen to be exact, and only then used."""

import subprocess
import sys
from threading import Event, Thread

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
    monkeypatch.setattr(onednn, "WIDTH", 128)
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

    from segearth.scenes.block_task import PredictorFactory

    plain = PredictorFactory.for_workers(mini_predictor())
    use_onednn()
    fast = PredictorFactory.for_workers(mini_predictor())
    for load, used in ((plain, False), (fast, True), (plain, False)):
        load()
        assert onednn_is_used() == used
    monkeypatch.setenv("SEGEARTH_ONEDNN", "0")
    plain()
    with pytest.raises(UserError, match="which is not possible here: SEGEARTH_ONEDNN is 0"):
        fast()


LINEAR = F.linear


def rounded(vectors, weight):
    """As it would be on a processor that multiplies bfloat16; in the sums of the FFN alone."""
    return LINEAR(vectors if vectors.shape[1] < 256 else as_bfloat16(vectors), weight)


def no_numbers(vectors, weight):
    return LINEAR(vectors, weight) * (torch.nan if vectors.dtype == torch.float32 else 1)


def by_company(vectors, weight):
    """Other last bits for three windows than for two, four and five."""
    return LINEAR(vectors, weight) * (1 + 2e-7 * (len(vectors) == 3 * 197))


def by_threads(vectors, weight):
    """Other last bits with the two threads of three that a scene is computed with."""
    return LINEAR(vectors, weight) * (1 + 2e-7 * (torch.get_num_threads() == 2))


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(
    ("product", "reason"),
    [
        (rounded, "wrong by"),
        (no_numbers, "wrong by nan"),
        (by_company, "number of windows"),
        (by_threads, "number of threads"),
    ],
)
def test_products_that_are_not_as_they_should_be(monkeypatch, product, reason):
    torch.set_num_threads(3)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(F, "linear", product)
            assert reason in use_onednn()
        assert (onednn_is_used(), setting(), torch.get_num_threads()) == (False, "none", 3)
    finally:
        torch.set_num_threads(1)


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("name", ["scaled_dot_product_attention", "bmm"])
def test_attention_and_products_of_tiles_are_looked_at_too(monkeypatch, name):
    owner = F if hasattr(F, name) else torch
    exact = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *of: exact(*map(as_bfloat16, of)))
    assert "wrong by" in use_onednn()


def as_bfloat16(values):
    """The values, if they are float32, as bfloat16 holds them."""
    return values.bfloat16().float() if values.dtype == torch.float32 else values


@pytest.mark.usefixtures("processor")
def test_while_another_thread_computes():
    """It stays exact there, and what was asked for meanwhile is true afterwards; nothing is set for a moment only."""
    inside, go_on, seen = Event(), Event(), []

    def compute():
        with true_float32():
            inside.set()
            go_on.wait(60)
            seen.append(setting())

    matmul = torch.backends.mkldnn.matmul
    try:
        for wanted, during, after in ((True, "bf16", "bf16"), (False, "ieee", "tf32")):
            if not wanted:
                use_onednn(False)
                matmul.fp32_precision = "tf32"
                use_onednn()
            inside.clear(), go_on.clear()
            thread = Thread(target=compute)
            thread.start()
            inside.wait(60)
            use_onednn(wanted)
            go_on.set()
            thread.join(60)
            assert (seen.pop(), setting(), onednn_is_used()) == (during, after, wanted)
    finally:
        matmul.fp32_precision = "none"


@pytest.mark.usefixtures("processor")
def test_threads_see_nothing_else_while_true_float32_comes_and_goes(monkeypatch):
    """A product that another thread begins in between would have other last bits."""
    use_onednn()
    written, setter = [], torch._C._set_fp32_precision_setter
    everywhere = torch.set_float32_matmul_precision
    monkeypatch.setattr(torch._C, "_set_fp32_precision_setter", lambda *of: (written.append(of[:2]), setter(*of)))
    monkeypatch.setattr(torch, "set_float32_matmul_precision", written.append)
    try:
        for allowed in (None, "tf32"):  # the latter of CUDA's products, by the newer setting
            if allowed:
                torch.backends.cuda.matmul.fp32_precision = allowed
            with true_float32():
                assert setting() == "bf16"
            assert setting() == "bf16"
    finally:
        everywhere("highest")
    assert (
        {("cuda", "conv"), ("cuda", "matmul")}
        <= set(written)
        <= {("cuda", "conv"), ("cuda", "rnn"), ("cuda", "matmul")}
    )


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
