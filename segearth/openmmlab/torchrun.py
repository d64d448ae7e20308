"""torchrun with a sentence where it has a traceback; otherwise the same: python -m segearth.openmmlab.torchrun ..."""

from __future__ import annotations

import logging
import os
import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

ADVICE = "the others were ended; start the same command again: it goes on where it stopped"


def main(argv: list[str]) -> int:
    """Runs torchrun.

    Args:
        argv: its arguments, the script and the script's arguments.

    Returns:
        0, or what the first process that failed returned; 1 if it was killed.
    """
    logging.disable(logging.ERROR)  # its own report of a failure is some forty lines
    os.environ.setdefault("TORCHELASTIC_LOG_LEVEL", "CRITICAL")
    from torch.distributed.run import main as torchrun

    try:
        torchrun(argv)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode > 0:
            print(f"error: process {rank} ended with code {failure.exitcode}, see its message above", file=sys.stderr)
            return failure.exitcode
        print(f"error: process {rank} was killed ({failure.signal_name()}): {ADVICE}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
