"""`pacos train --gpus N`: the same command in N processes of this machine."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence


def launch(count: int, arguments: Sequence[str]) -> int:
    """Runs `pacos train` with these arguments in `count` processes, as torchrun would without its pages of traceback.

    Returns the first exit code that is not 0, 2 where a signal ended a process. One that fails ends the others; Ctrl-C
    reaches all of them.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "pacos", "train", *arguments]
    members: list[subprocess.Popen[bytes]] = []
    interrupts = 0

    def interrupt(number: int, frame: object) -> None:
        nonlocal interrupts
        interrupts += 1
        # After the first they end their step, after the second at once; one that does neither is killed.
        if interrupts > 2:
            sys.exit(2)
        for member in members:
            member.send_signal(signal.SIGINT)

    # Whoever ends this process means all of them; what it was told to ignore, as under nohup, it ignores.
    endings = {number: lambda number, frame: sys.exit(128 + number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in (endings | {signal.SIGINT: interrupt}).items():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        for rank in map(str, range(count)):
            env = {"OMP_NUM_THREADS": "1", **os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank}
            # A session of their own, so that each Ctrl-C reaches them once, however it came here.
            member = subprocess.Popen(command, env=env, start_new_session=True, preexec_fn=_die_with_parent)
            members.append(member)
            if interrupts:
                member.send_signal(signal.SIGINT)
                break
        codes: list[int | None] = [None]
        while None in codes and not any(codes):
            time.sleep(0.1)
            codes = [member.poll() for member in members]
        if interrupts:
            for member in members:
                member.wait()
    finally:
        for member in members:
            member.kill()
            member.wait()
    code = next((code for code in codes if code), 0)
    if code < 0 and not interrupts:
        print(
            f"pacos: train: process {codes.index(code)} was ended by signal {-code} (9 may be the system's, out of "
            "memory); the same command goes on from the last checkpoint.",
            file=sys.stderr,
        )
    return 2 if code < 0 else code


def _die_with_parent() -> None:
    # Else the processes of a killed command would train on, with the run's lock, and nobody to end them.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
