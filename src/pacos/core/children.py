"""Processes that this one starts, and that are not to outlive it."""

import ctypes
import signal
import sys


def die_with_parent() -> None:
    """As a child's `preexec_fn`: the system kills it with its parent, however that one ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
