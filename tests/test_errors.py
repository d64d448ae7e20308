import os
import pickle
import warnings
from threading import Thread

import pytest

from segearth.errors import (
    UserError,
    UserNotice,
    called_as,
    first_line,
    notice,
    option,
    printable,
    program,
    without_warnings,
)


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Löwe 東京 🌳 'a\\b'.tif", "Löwe 東京 🌳 'a\\b'.tif"),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("\x9b31m and \x7f", r"\x9b31m and \x7f"),  # the escape code of one character
        ("two\r\nlines\ttab\u2028", r"two\r\nlines\ttab\u2028"),
        ("gpj.\u202efit", r"gpj.\u202efit"),  # shown backwards by a terminal
        (os.fsdecode(b"caf\xe9\x80\xff.tif"), r"caf\xe9\x80\xff.tif"),
        ("\ud800", r"\ud800"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == printable(printable(text)) == shown
    shown.encode()  # can be written anywhere that takes UTF-8


def test_messages_quote_but_do_not_obey():
    foreign = "\x1b[2J\nname"
    error = UserError(f"no file {foreign}: give another one")
    assert str(error) == "no file \\x1b[2J\\nname: give another one"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # as between processes
    with pytest.warns(UserNotice) as told:
        notice(f"no file {foreign}")
    assert str(told[0].message) == "no file \\x1b[2J\\nname"
    error = UserError(f"no file {'x' * 100_000}: give another one")
    assert len(str(error)) == 3000
    assert str(error).startswith("no file xx")
    assert str(error).endswith("xx: give another one")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert first_line(OSError("\x1b[2J\nmore")) == "\\x1b[2J"
