"""Processes that train together, forked from one that has the libraries loaded: seconds less than starting each."""

import multiprocessing
import os
import signal
import socket
import sys
import traceback
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from pacos.cli.main import main


def forking() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pacos.train.run", "tests.train.members"])
    return context


def member(rank: int, size: int, port: int, arguments: list[str], said: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank)}
    os.environ |= {"LOCAL_RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    sys.argv = ["pacos", "train", *arguments]
    with open(f"{said}.{rank}", "w", buffering=1) as file:
        sys.stdout = sys.stderr = file
        try:
            main()
        except Exception:
            traceback.print_exc(file=file)
            raise


def start(size: int, arguments: list[str], said: Path) -> list[BaseProcess]:
    """`pacos train` in `size` processes, as torchrun starts them; what each says goes to `said` and its number."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = forking()
    members: list[BaseProcess] = [
        context.Process(target=member, args=(rank, size, port, arguments, str(said))) for rank in range(size)
    ]
    for process in members:
        process.start()
    return members


def wait(members: list[BaseProcess], seconds: float = 120) -> list[int | None]:
    """Exit codes; one that has failed ends the others, as torchrun would."""
    for process in members:
        process.join(seconds)
        if process.exitcode:
            break
    kill(members)
    return [process.exitcode for process in members]


def kill(members: list[BaseProcess]) -> None:
    for process in members:
        if process.is_alive():
            process.kill()
        process.join()
