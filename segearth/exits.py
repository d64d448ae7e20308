"""How programs speak on stderr, and how they end: exit codes, and one sentence for a mistake."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segearth.errors import UserError, UserNotice, called_as, is_out_of_memory
from segearth.extras import extra_of, install_command

OK, SOME_FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130


def say(text: str) -> None:
    """A remark while working, on stderr and at once: stdout keeps the result."""
    print(text, file=sys.stderr, flush=True)


def quiet(text: str) -> None:
    """In place of `say`, where the user asked for results and errors only."""


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
        interrupted: what is said after Ctrl-C.
        name: the command that the user typed, such as "segearth eval"; None takes the name of the script that runs.

    Returns:
        What the program returned, 0 where nobody reads its output to the end; 2 for what the user can mend (a mistake,
        a missing package, too little memory), after one sentence on stderr; 130 after Ctrl-C.
        Any other exception is a defect and is raised.
    """

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say(f"warning: {message}")

    with warnings.catch_warnings(), called_as(name or Path(sys.argv[0]).name):
        warnings.simplefilter("ignore")  # libraries' talk about themselves
        warnings.simplefilter("always", UserNotice)
        warnings.showwarning = show
        try:
            code = program() or OK
            sys.stdout.flush()
            return code
        except UserError as error:
            say(f"error: {error}")
            return MISTAKE
        except BrokenPipeError:  # whoever reads our output, such as head, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python fails again at its end
            return OK
        except KeyboardInterrupt:
            say(f"interrupted: {interrupted}")
            return INTERRUPTED
        except ModuleNotFoundError as error:
            if str(error.name).startswith("segearth"):
                raise
            package = str(error.name).partition(".")[0]
            say(f"error: the Python package {package} is not installed here: {install_command(extra_of(package))}")
            return MISTAKE
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            say(f"error: not enough memory: {less_memory}")
            return MISTAKE
