import warnings
from threading import Thread

from segearth.errors import called_as, option, program, without_warnings


def test_options_are_named_as_the_caller_writes_them():
    assert option("long_side", 448) == "long_side=448"
    assert option("model", "tiny") == 'model="tiny"'
    assert program() is None
    with called_as("segearth predict"):
        assert option("long_side", 448) == "--long-side 448"
        assert option("model", "tiny") == "--model tiny"
        assert option("device") == "--device"
        assert program() == "segearth predict"
    assert option("device") == "device"


def test_filters_are_as_before_when_threads_are_through():
    """Without a lock the last one to leave would put back what another one had set."""
    before = list(warnings.filters)

    def ignore():
        for _ in range(200):
            with without_warnings(UserWarning):
                warnings.warn("not seen", UserWarning, stacklevel=1)

    threads = [Thread(target=ignore) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
