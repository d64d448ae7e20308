"""Command-line programs: messages on stderr, exit codes, signals, and one sentence for an error of the user."""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from segearth.errors import UserError, UserNotice, called_as, is_out_of_memory, printable
from segearth.extras import extra_of, install_command
from segearth.streams import open_streams, problem_of_output

OK, SOME_FAILED, MISTAKE = 0, 1, 2
_received: list[int] = []  # signals that asked this program to end
_ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Terminated(KeyboardInterrupt):
    """A signal asks the program to end, sent by a batch system or a closed terminal; handled like Ctrl-C.

    Args:
        number: the number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def say(text: str) -> None:
    """Prints one line on stderr at once; stdout is for results."""
    print(printable(text, keep="\t"), file=sys.stderr, flush=True)


def quiet(text: str) -> None:
    """Replaces `say` where the user wants only results and errors; prints nothing."""


def show_only_notices() -> None:
    """Prints each `UserNotice` as one sentence and ignores all other warnings."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say(f"warning: {message}")

    warnings.simplefilter("ignore")
    warnings.simplefilter("always", UserNotice)
    warnings.showwarning = show


def exit_code(error: KeyboardInterrupt) -> int:
    """128 plus the number of the signal that ended a program: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (error.number if isinstance(error, Terminated) else signal.SIGINT)


def run(
    program: Callable[[], int | None],
    less_memory: str = "use a smaller image or a smaller long side",
    interrupted: str = "nothing more is written",
    name: str | None = None,
) -> int:
    """Runs a command-line program and returns its exit code.

    Args:
        program: the function to run; it returns `SOME_FAILED` if some of its items failed, else None or 0.
        less_memory: advice where memory is not enough.
        interrupted: the message after Ctrl-C, SIGTERM and SIGHUP.
        name: the command that the user typed, such as "segearth eval"; None takes the name of the script that runs.

    Returns:
        What the program returned, also where the reader of its output has closed the pipe; 2 for what the user can
        correct (an error of input, an unusable file, a missing package, too little memory), after one sentence on
        stderr; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP. Any other exception is a bug and is raised.
    """
    open_streams()
    with warnings.catch_warnings(), called_as(name or Path(sys.argv[0]).name):
        show_only_notices()
        try:
            with _termination_signals():
                code = program() or OK
                sys.stdout.flush()
            if (problem := problem_of_output()) is not None:
                raise UserError(
                    f"the standard output could not be written to its end ({problem}): expected room for it; free some "
                    "space, or send it elsewhere"
                )
            return code
        except UserError as error:
            say(f"error: {error}")
            return MISTAKE
        except KeyboardInterrupt as error:
            what = f"ended by {signal.Signals(error.number).name}" if isinstance(error, Terminated) else "interrupted"
            say(f"{what}: {interrupted}")
            return exit_code(error)
        except ModuleNotFoundError as error:
            if str(error.name).startswith("segearth"):
                raise
            package = str(error.name).partition(".")[0]
            say(f"error: the Python package {package} is not installed here: {install_command(extra_of(package))}")
            return MISTAKE
        except OSError as error:
            if error.filename is None:
                raise
            name = printable(error.filename)[:200]
            say(
                f"error: cannot use {name} ({error.strerror}): expected a path that this program may use; correct it, "
                "or its permissions"
            )
            return MISTAKE
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            say(f"error: not enough memory: {less_memory}")
            return MISTAKE


def record_signal(number: int) -> KeyboardInterrupt:
    """Records a signal and returns the exception for its handler; `reraise_if_ending` raises it from now on."""
    _received.append(number)
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)


def reraise_if_ending(error: Exception) -> None:
    """Called before continuing with the next item after an error of one.

    Libraries convert an interruption to other exceptions, and a worker process that received the signal looks like a
    failure; neither is a failure of the item.

    Raises:
        KeyboardInterrupt: the program was asked to end.
    """
    if _received:
        raise (KeyboardInterrupt() if _received[0] == signal.SIGINT else Terminated(_received[0])) from error


@contextmanager
def _termination_signals() -> Iterator[None]:
    """Signals that ask a program to end raise `Terminated`, unless they have handlers or are ignored (nohup)."""
    handlers: dict[int, Any] = {}

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (of signal handlers)
        if number != signal.SIGINT:  # a second Ctrl-C still ends the program at once
            for other in handlers.keys() - {signal.SIGINT}:
                signal.signal(other, signal.SIG_IGN)  # launchers repeat signals, which would interrupt the cleanup
        raise record_signal(number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, *_ENDINGS):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                handlers[number] = signal.signal(number, end)
    try:
        yield
    except Exception as error:
        reraise_if_ending(error)
        raise
    finally:
        _received.clear()
        for number, handler in handlers.items():
            if signal.getsignal(number) is end:  # signals ignored above stay ignored until the process has ended
                signal.signal(number, handler)
