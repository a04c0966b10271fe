"""Ctrl-C: told from a failure wherever it fell, and said in one line."""

import os
import signal
import sys
from typing import NoReturn

INTERRUPTED = 130


def is_interrupted(error: BaseException | None) -> bool:
    """Whether a library made another error of a Ctrl-C."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def end_stopped() -> NoReturn:
    """Ends the process as a stopped one, which the same command goes on from."""
    # Another Ctrl-C from here on would end the process by the signal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # CPython remembers an interrupt that fell into code run from a string, as the import of a dataclass is, and
    # would end this process by the signal although it was handled; running another string makes it forget.
    exec("")
    if os.environ.get("RANK", "0") == "0":
        print("stopped; the same command goes on from here", file=sys.stderr)
    sys.exit(2)
