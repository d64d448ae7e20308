"""Errors that the user can correct (`UserError`), notices, and option names as the user writes them."""

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
_LONGEST = 3000  # characters of a message, with the values that it quotes

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

_VERB_NAMES = {"work_dir": "out"}  # options that the verbs of `segearth` call differently than functions and scripts

_program: str | None = None  # the command that runs, such as "segearth predict"; None: called from Python


class UserError(ValueError):
    """An error in the user's input: a path, a name, an option, a file.

    The message has three parts: what happened (with the value), what was expected, what to do next.
    Programs print it as it is, without a traceback, and exit with code 2. Any other exception is a bug in
    segearth and keeps its traceback.

    Messages quote text from outside: names of files and tensors, answers of servers. Therefore control characters are
    escaped, line breaks included, and the middle of a very long message is left out.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_sentence(message))


def printable(text: object, keep: str = "") -> str:
    r"""Text from outside, such as a file name or a server's answer, as one line without control characters.

    Escape codes, line breaks, marks of the writing direction and bytes that are not UTF-8 become `\x1b`, `\n`, `\u202e`
    and `\xff`, as Python writes them; printable characters stay. The function is idempotent.

    Args:
        text: A string, or an object that `str` converts.
        keep: Control characters that stay, such as a line break.
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
    """A message as one line of limited length; idempotent."""
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2 - 5]} ... {text[-_LONGEST // 2 :]}"


def first_line(error: BaseException) -> str:
    """The first line of a library's error message; the type of the error if it has no message."""
    return printable((str(error).strip() or type(error).__name__).splitlines()[0])


def conflicting_options(first: str, first_value: object, second: str, second_value: object) -> UserError:
    """The error for two options of which only one may be given, by their names and values."""
    return UserError(
        f"{option(first, first_value)} and {option(second, second_value)} say one thing in two ways: expected one of "
        "them; leave the other out"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory was not enough; torch raises a RuntimeError with various messages."""
    wordings = r"alloc|out of memory|size calculation overflowed"
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and re.search(wordings, str(error)) is not None
    )


class UserNotice(UserWarning):
    """A warning for the user, in one sentence; programs print it and continue."""


def forget_locks() -> None:
    """Replaces locks in a forked child, where the threads that held them do not exist."""
    global _FILTERS
    _FILTERS = RLock()


@contextmanager
def without_warnings(category: type[Warning] = Warning, message: str = "") -> Iterator[None]:
    """Ignores warnings of libraries in a block; one thread at a time, as Python's filters are global.

    Args:
        category: the category of warnings to ignore.
        message: a regular expression for the start of their messages.
    """
    with _FILTERS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message, category)
        yield


def notice(text: str) -> None:
    """Issues a `UserNotice` with the line of the caller outside segearth; programs print its text."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "segearth":
        level, frame = level + 1, frame.f_back
    warnings.warn(_sentence(text), UserNotice, stacklevel=level)


def unknown_option(function: str, name: str, known: Iterable[str]) -> UserError:
    """The error for an option that a function does not have; it suggests a similar name."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
    return UserError(f"{function} has no option {name!r}: {advice}")


def checks_options(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: an unknown option raises a `UserError` that suggests a similar name, instead of a `TypeError`."""
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
    """In the block, messages name options as this command has them ("segearth predict"); None: as in Python."""
    global _program
    before, _program = _program, program
    try:
        yield
    finally:
        _program = before


def program() -> str | None:
    """The command that the user typed, such as "segearth predict"; None when called from Python."""
    return _program


def option(name: str, value: object = None, typed: str | None = None) -> str:
    """An option as the user writes it: `--long-side 448` on a command line, `long_side=448` in Python.

    Args:
        name: its name in Python.
        value: its value; None for the name alone, True for a switch.
        typed: its name on a command line, if that differs.
    """
    if _program is None:
        shown = json.dumps(value, allow_nan=False) if isinstance(value, str) else value
        return name if value is None else f"{name}={shown}"
    if not from_script():
        name = _VERB_NAMES.get(name, name)
    return f"--{(typed or name).replace('_', '-')}" + ("" if value is None or value is True else f" {value}")


def from_script() -> bool:
    """Whether the user runs a script of a checkout, such as eval.py, instead of a verb of `segearth`."""
    return _program is not None and _program.endswith(".py")


def command(verb: str) -> str:
    """The command that runs a verb: `segearth check`, or `python tools/check_dataset.py` when called from a script.

    Args:
        verb: a verb of `segearth`.
    """
    return f"python {SCRIPTS[verb]}" if from_script() and verb in SCRIPTS else f"segearth {verb}"
