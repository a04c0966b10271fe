"""One process at a time in a folder."""

import fcntl
import os
from pathlib import Path
from typing import TextIO

from pacos.core.errors import PacosError
from pacos.core.files import write_error


def lock_folder(folder: Path, what: str, advice: str) -> TextIO:
    """Makes the folder and locks it for this process until the returned file is closed.

    Raises PacosError where another process is at work on `what`, with `advice`, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "a+")  # noqa: SIM115, whoever asks for the lock closes it
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        # The kernel drops the lock with the process, however it ends: no stale lock files.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise PacosError(f"{folder}: another pacos process (id {owner}) is at work on {what}; {advice}.") from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
