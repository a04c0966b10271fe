"""Failures of the machine that any library may raise in its own words: a full disk or a forbidden file is no bug."""

import errno
import os


def one_line(error: BaseException) -> str | None:
    """The line for a full disk, wherever in the chain of causes it hides, or for a path or a terminal that cannot take
    what it is given; None for anything else."""
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
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)!r}: {error.strerror}; check the path and who may read and write it."
    if isinstance(error, UnicodeEncodeError):
        what = ascii(error.object[error.start : error.end])
        return (
            f"{what} cannot be written as {error.encoding}; give names in UTF-8, and a terminal that shows it "
            "(PYTHONIOENCODING=utf-8)."
        )
    return None
