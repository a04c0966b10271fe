"""`pacos train --gpus N`: the same command in N processes of this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress


def launch(count: int, arguments: Sequence[str]) -> int:
    """Runs `pacos train` with these arguments in `count` processes, as torchrun would without its pages of traceback.

    Returns the first exit code that is not 0. A process that fails ends the others; Ctrl-C reaches all of them.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "pacos", "train", *arguments]
    # Whoever ends this process means all of them.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    members: list[subprocess.Popen[bytes]] = []
    try:
        for rank in map(str, range(count)):
            env = {"OMP_NUM_THREADS": "1", **os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank}
            members.append(subprocess.Popen(command, env=env))
        codes: list[int | None] = [None]
        while None in codes and not any(codes):
            with suppress(KeyboardInterrupt):
                time.sleep(0.1)
            codes = [member.poll() for member in members]
    finally:
        for member in members:
            member.kill()
            member.wait()
    return next((code for code in codes if code), 0)
