"""How programs speak on stderr, and how they end: exit codes, and one sentence for a mistake."""

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

OK, SOME_FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
_asked: list[int] = []  # signals that asked this program to end
_ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Ended(KeyboardInterrupt):
    """The program is to end, as a batch system or a closed terminal asks: whatever heeds Ctrl-C heeds this.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def say(text: str) -> None:
    """A remark of one line while working, on stderr and at once: stdout keeps the result."""
    print(printable(text, keep="\t"), file=sys.stderr, flush=True)


def quiet(text: str) -> None:
    """In place of `say`, where the user asked for results and errors only."""


def only_notices() -> None:
    """Says a `UserNotice` in its one sentence, and drops all other warnings: libraries' talk about themselves."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say(f"warning: {message}")

    warnings.simplefilter("ignore")
    warnings.simplefilter("always", UserNotice)
    warnings.showwarning = show


def exit_code(error: KeyboardInterrupt) -> int:
    """128 and the number of the signal that ended a program: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (error.number if isinstance(error, Ended) else signal.SIGINT)


def run(
    program: Callable[[], int | None],
    less_memory: str = "use a smaller image or a smaller long side",
    interrupted: str = "nothing more is written",
    name: str | None = None,
) -> int:
    """Runs a command-line program and turns how it ended into an exit code.

    Args:
        program: what to run; it returns `SOME_FAILED` where some of its items failed, else nothing or 0.
        less_memory: what to do where memory is not enough.
        interrupted: what is said after Ctrl-C, SIGTERM and SIGHUP.
        name: the command that the user typed, such as "segearth eval"; None takes the name of the script that runs.

    Returns:
        What the program returned, also where nobody reads its output to the end; 2 for what the user can mend (a
        mistake, a file that cannot be used, a missing package, too little memory), after one sentence on stderr; 130
        after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP. Any other exception is a defect and is raised.
    """
    open_streams()
    with warnings.catch_warnings(), called_as(name or Path(sys.argv[0]).name):
        only_notices()
        try:
            with _ending_like_ctrl_c():
                code = program() or OK
                sys.stdout.flush()
            if (problem := problem_of_output()) is not None:
                raise UserError(
                    f"the standard output could not be written to its end ({problem}): free some space, or send it "
                    "elsewhere"
                )
            return code
        except UserError as error:
            say(f"error: {error}")
            return MISTAKE
        except KeyboardInterrupt as error:
            what = f"ended by {signal.Signals(error.number).name}" if isinstance(error, Ended) else "interrupted"
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


def ask_to_end(number: int) -> KeyboardInterrupt:
    """What a handler of a signal is to raise; from now on `go_on_unless_ending` raises it, too."""
    _asked.append(number)
    return KeyboardInterrupt() if number == signal.SIGINT else Ended(number)


def go_on_unless_ending(error: Exception) -> None:
    """For whoever goes on with the next item after an exception.

    Libraries make other exceptions of an interruption, and a worker process that gets the signal, too, looks like a
    failure: none of them is one of the item.

    Raises:
        KeyboardInterrupt: the program was asked to end.
    """
    if _asked:
        raise (KeyboardInterrupt() if _asked[0] == signal.SIGINT else Ended(_asked[0])) from error


@contextmanager
def _ending_like_ctrl_c() -> Iterator[None]:
    """Makes the signals that ask a program to end raise `Ended`, unless somebody else heeds or ignores them (nohup)."""
    handlers: dict[int, Any] = {}

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (of signal handlers)
        if number != signal.SIGINT:  # a second Ctrl-C is of somebody who does not want to wait
            for one in handlers.keys() - {signal.SIGINT}:
                signal.signal(one, signal.SIG_IGN)  # launchers repeat it, which would disturb the cleaning up
        raise ask_to_end(number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, *_ENDINGS):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                handlers[number] = signal.signal(number, end)
    try:
        yield
    except Exception as error:
        go_on_unless_ending(error)
        raise
    finally:
        _asked.clear()
        for number, handler in handlers.items():
            if signal.getsignal(number) is end:  # what is ignored since stays so until the process is gone
                signal.signal(number, handler)
