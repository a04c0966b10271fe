"""Failures of the machine that any library may raise in its own words: a full disk is no bug."""

import errno
import os


def one_line(error: BaseException) -> str | None:
    """The line for a full disk, wherever in the chain of causes it hides; None for anything else."""
    cause: BaseException | None = error
    while cause is not None:
        full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        # SQLite, safetensors and torch report it in text only.
        if full or "No space left on device" in str(cause) or "database or disk is full" in str(cause):
            return (
                f"the disk is full (while working in {os.getcwd()}); nothing was left half-written. "
                "Free some space, then repeat the same command: it goes on from here."
            )
        cause = cause.__cause__ or cause.__context__
    return None
