"""What the person running this can mend, told apart from our own defects."""

import re


class UserError(ValueError):
    """A mistake in what the user gave: a path, a name, an option, a file.

    The message has three parts: what happened (with the value), what was expected, what to do next.
    Scripts print it as it is, without a traceback, and exit with code 2; everything else that is
    raised is a defect of ours and keeps its traceback.
    """


def first_line(error: BaseException) -> str:
    """What an error of a library says, without the pages that may follow; its type if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was not enough: torch says so by a RuntimeError of many wordings."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and re.search(r"alloc|out of memory", str(error)) is not None
    )


class UserNotice(UserWarning):
    """Something the user should know although it stops nothing; scripts print its one sentence."""
