"""torchrun with one sentence in place of its traceback: python -m segearth.distributed.torchrun ..."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from signal import SIGTERM

from segearth.errors import first_line
from segearth.jobs.launchers import SPEAKS

ENDED = "the others were ended; "
ADVICE = "start the same command again (a training: with --resume): it goes on where it stopped"
GRACE = "5"  # seconds for processes to end after Ctrl-C or SIGTERM; by default 30
MEETING = 60.0  # seconds until all machines must have begun
_SPOKEN = (1, 2)  # codes of processes that have said why: a sentence, a table with failed sets, a traceback


def main(argv: list[str]) -> int:
    """Runs torchrun.

    Args:
        argv: its arguments, the script and the script's arguments.

    Returns:
        0, or what the first process that failed returned; 1 if it was killed; 2 if machines did not meet;
        128 and the signal's number (130 after Ctrl-C, 143 after SIGTERM) if this process was to end.
    """
    logging.disable(logging.ERROR)  # its own report of a failure is some forty lines
    os.environ[SPEAKS] = "1"
    os.environ.setdefault("TORCHELASTIC_LOG_LEVEL", "CRITICAL")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # dozens of lines of C++ for a machine that is not there
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", GRACE)  # --shutdown-timeout, which older ones do not know
    try:
        return _torchrun(argv)
    except KeyboardInterrupt:  # before torchrun looks after signals
        return _ended("SIGINT", 130)


def _torchrun(argv: list[str]) -> int:
    """As `main`."""
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.run import main as torchrun
    from torch.distributed.run import parse_args

    try:
        args = parse_args(argv)
        if args.node_rank and not args.standalone:
            _wait_for(args.master_addr, args.master_port)
        torchrun(argv)
    except ChildFailedError as error:
        # of a process that was killed and those that noticed it within the same second, the killed process is the cause
        killed = [(i, end) for i, end in error.failures.items() if end.exitcode < 0 and end.exitcode != -SIGTERM]
        rank, failure = killed[0] if killed else error.get_first_failure()
        if failure.exitcode < 0:
            return _say(f"error: process {rank} was killed ({failure.signal_name()}): {ENDED}{ADVICE}", 1)
        if failure.exitcode == 128 + SIGTERM:
            return _say(f"error: process {rank} was ended (SIGTERM): {ENDED}{ADVICE}", 1)
        if failure.exitcode not in _SPOKEN:
            _say(f"error: process {rank} ended with code {failure.exitcode}: {ENDED}{ADVICE}", 1)
        return failure.exitcode
    except SignalException as error:
        return _ended(error.sigval.name, 128 + error.sigval)
    except (DistError, RendezvousError, ConnectionError) as error:
        return _say(
            f"error: this machine did not meet the others, or lost them ({first_line(error)}): expected the same "
            "command on each within a minute, MASTER_ADDR and PORT the same for all (of machine 0, the port free "
            "there), NODE_RANK from 0 to NNODES - 1; set them, and start all again",
            2,
        )
    return 0


def _wait_for(host: str, port: int) -> None:
    """Waits for machine 0; torchrun itself would try for more than three minutes.

    Raises:
        ConnectionError: it did not come.
    """
    end = time.monotonic() + MEETING
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise ConnectionError(f"no machine 0 at {host}:{port}, {error.strerror or error}") from None
            time.sleep(0.5)


def _ended(signal: str, code: int) -> int:
    """Reports a signal that ended the processes."""
    what = "interrupted" if signal == "SIGINT" else f"ended by {signal}"
    return _say(f"{what}: {ADVICE}", code)


def _say(sentence: str, code: int) -> int:
    """Prints a sentence on a line of its own, below an unfinished progress bar."""
    print(f"\n{sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
