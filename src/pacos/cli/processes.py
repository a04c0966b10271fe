"""`pacos train --gpus N`: the same command in N processes of this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pacos.core.children import die_with_parent


def launch(count: int, arguments: Sequence[str]) -> int:
    """Runs `pacos train` with these arguments in `count` processes, as torchrun would without its pages of traceback.

    Returns the least exit code that is not 0, 2 where a signal ended a process. One that fails ends the others; Ctrl-C
    reaches all of them, and so does SIGTERM, as Ctrl-C.
    """
    group = _Group()
    group.answer_signals()
    try:
        group.start([sys.executable, "-m", "pacos", "train", *arguments], count)
        codes = group.wait()
    finally:
        group.kill()
    # The least is the cause: where one was killed (-9), the others abort (-6) or end (2) because it is gone.
    code = min((code for code in codes if code), default=0)
    if code < 0 and not group.interrupts:
        print(
            f"pacos: train: process {codes.index(code)} was ended by signal {-code} (9 may be the system's, out of "
            "memory); the same command goes on from the last checkpoint.",
            file=sys.stderr,
        )
    return 2 if code < 0 else code


@dataclass
class _Group:
    """The processes that were started, and how often they were told to stop."""

    members: list[subprocess.Popen[bytes]] = field(default_factory=list)
    interrupts: int = 0

    def answer_signals(self) -> None:
        # Whoever ends this process means all of them; what it was told to ignore, as under nohup, it ignores.
        endings: dict[signal.Signals, Callable[[int, object], object]] = {
            signal.SIGHUP: lambda number, frame: sys.exit(128 + number),
            signal.SIGTERM: self._interrupt,
            signal.SIGINT: self._interrupt,
        }
        for number, handler in endings.items():
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handler)

    def _interrupt(self, number: int, frame: object) -> None:
        self.interrupts += 1
        # After the first they end their step, after the second at once; one that does neither is killed.
        if self.interrupts > 2:
            sys.exit(2)
        for member in self.members:
            member.send_signal(signal.SIGINT)

    def start(self, command: list[str], count: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        for rank in map(str, range(count)):
            env = {"OMP_NUM_THREADS": "1", **os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank}
            # A session of their own, so that each Ctrl-C reaches them once, however it came here.
            # Else those of a killed command would train on, with the run's lock, and nobody to end them.
            member = subprocess.Popen(command, env=env, start_new_session=True, preexec_fn=die_with_parent)
            self.members.append(member)
            if self.interrupts:
                return member.send_signal(signal.SIGINT)

    def wait(self) -> list[int]:
        """The exit codes once all have ended or one has failed; after Ctrl-C once all have ended."""
        codes: list[int | None] = [None]
        while None in codes and not (any(codes) and not self.interrupts):
            time.sleep(0.1)
            codes = [member.poll() for member in self.members]
        return [code or 0 for code in codes]

    def kill(self) -> None:
        for member in self.members:
            member.kill()
            member.wait()
