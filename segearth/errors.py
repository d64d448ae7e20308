"""What the person running this can mend, told apart from our own defects, in terms of what that person used."""

import difflib
import functools
import inspect
import json
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import ParamSpec, TypeVar

_FILTERS = RLock()
_LONGEST = 3000  # characters of a message: three times our longest, for the values that it quotes

P = ParamSpec("P")
R = TypeVar("R")

# The scripts of a checkout, by the verb of `segearth` that does the same.
SCRIPTS = {
    "demo": "demo.py",
    "eval": "eval.py",
    "eval-all": "eval_all.py",
    "prepare": "tools/prepare_dataset.py",
    "check": "tools/check_dataset.py",
    "sample-data": "tools/make_sample_data.py",
    "train-upsampler": "tools/train_simfeatup.py",
}

_VERBS_SAY = {"work_dir": "out"}  # what functions and scripts call by another name than the verbs of `segearth`

_program: str | None = None  # the command that runs, such as "segearth predict"; None: Python code that imports us


class UserError(ValueError):
    """A mistake in what the user gave: a path, a name, an option, a file.

    The message has three parts: what happened (with the value), what was expected, what to do next.
    Scripts print it as it is, without a traceback, and exit with code 2; everything else that is
    raised is a defect of ours and keeps its traceback.

    Messages quote what others chose: names of files and tensors, a server's words. So whatever a terminal would obey
    is escaped, line breaks included, which could begin another "error:"; and the middle of what nobody reads is left
    out.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_sentence(message))


def printable(text: object, keep: str = "") -> str:
    r"""Foreign text, such as a file's name or a server's words, as one line that a terminal shows but does not obey.

    Escape codes, line breaks, marks that turn the direction of writing and bytes that are no UTF-8 become `\x1b`,
    `\n`, `\u202e` and `\xff`, as Python writes them; all that can be seen stays as it is. Twice is the same as once.

    Args:
        text: A string, or what `str` makes one of.
        keep: Characters that stay although they are no part of a line, such as a line break.
    """
    return "".join(
        character
        if character.isprintable() or character in keep
        else f"\\x{ord(character) - 0xDC00:02x}"
        if "\udc80" <= character <= "\udcff"  # how Python keeps a byte that is no UTF-8
        else repr(character)[1:-1]
        for character in str(text)
    )


def _sentence(text: str) -> str:
    """A message as one line of a bounded length; twice is the same as once."""
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2 - 5]} ... {text[-_LONGEST // 2 :]}"


def first_line(error: BaseException) -> str:
    """What an error of a library says, without the pages that may follow; its type if it says nothing."""
    return printable((str(error).strip() or type(error).__name__).splitlines()[0])


def one_of_two(one: str, first: object, other: str, second: object) -> UserError:
    """The error of two options that say one thing.

    Args:
        one: the first one's name.
        first: its value.
        other: the second one's name.
        second: its value.
    """
    return UserError(
        f"{option(one, first)} and {option(other, second)} say one thing in two ways: expected one of them; leave the "
        "other out"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was not enough: torch says so by a RuntimeError of many wordings."""
    wordings = r"alloc|out of memory|size calculation overflowed"
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and re.search(wordings, str(error)) is not None
    )


class UserNotice(UserWarning):
    """Something the user should know although it stops nothing; scripts print its one sentence."""


def forget_locks() -> None:
    """For a forked child, in which no other thread will ever give a lock back."""
    global _FILTERS
    _FILTERS = RLock()


@contextmanager
def without_warnings(category: type[Warning] = Warning, message: str = "") -> Iterator[None]:
    """Ignores warnings of libraries in a block: one thread at a time, as Python's filters are those of the process.

    Args:
        category: of the warnings.
        message: what they begin with, a regular expression.
    """
    with _FILTERS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message, category)
        yield


def notice(text: str) -> None:
    """Tells the user something that stops nothing: a `UserNotice`, of the caller's line; scripts print its text."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "segearth":
        level, frame = level + 1, frame.f_back
    warnings.warn(_sentence(text), UserNotice, stacklevel=level)


def unknown_option(function: str, name: str, known: Iterable[str]) -> UserError:
    """The error for an option that a function does not have; it names the near one."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
    return UserError(f"{function} has no option {name!r}: {advice}")


def checks_options(function: Callable[P, R]) -> Callable[P, R]:
    """Makes an unknown option of a function a `UserError` that names the near one, not a `TypeError`."""
    known = [name for name in inspect.signature(function).parameters if name != "self"]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in known:
                raise unknown_option(function.__name__, name, known)
        return function(*args, **kwargs)

    return checked


@contextmanager
def called_as(program: str | None) -> Iterator[None]:
    """While the block runs, advice names the options of this command, such as "segearth predict"; None: of Python."""
    global _program
    before, _program = _program, program
    try:
        yield
    finally:
        _program = before


def program() -> str | None:
    """The command that the user typed, such as "segearth predict"; None where Python code calls."""
    return _program


def option(name: str, value: object = None, typed: str | None = None) -> str:
    """An option as the caller writes it: `--long-side 448` on a command line, `long_side=448` in Python.

    Args:
        name: its name in Python.
        value: what to give; None for the name alone, True for a switch.
        typed: its name on a command line, where that is another one.
    """
    if _program is None:
        shown = json.dumps(value, allow_nan=False) if isinstance(value, str) else value
        return name if value is None else f"{name}={shown}"
    if not from_script():
        name = _VERBS_SAY.get(name, name)
    return f"--{(typed or name).replace('_', '-')}" + ("" if value is None or value is True else f" {value}")


def from_script() -> bool:
    """Whether the user started a script of a checkout, such as eval.py, and not a verb of `segearth`."""
    return _program is not None and _program.endswith(".py")


def command(verb: str) -> str:
    """How this caller starts another program: `segearth check`, or `python tools/check_dataset.py` from a script.

    Args:
        verb: a verb of `segearth`.
    """
    return f"python {SCRIPTS[verb]}" if from_script() and verb in SCRIPTS else f"segearth {verb}"
