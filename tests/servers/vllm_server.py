"""A real vLLM server of a small real model, in an environment of its own, with this checkout's plug-in or without."""

import os
import signal
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from pacos.core.models import resolve_model

MODEL, VOCABULARY = "smollm2-135m", 49_152
CHECKOUT = Path(__file__).parents[2]
START_SECONDS = 400.0


@contextmanager
def vllm(python: str, folder: Path, settings: Path | None, dtype: str = "float32") -> Iterator[str]:
    """A server's address; `settings` is what it marks by, and without them it has no plug-in."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = [str(CHECKOUT / "src")]
    environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    if settings:
        path.append(str(installed(folder)))
        environment["PACOS_WATERMARK"] = str(settings)
    command = [
        *(python, "-m", "vllm.entrypoints.openai.api_server", "--model", resolve_model(MODEL)),
        *("--served-model-name", MODEL, "--host", "127.0.0.1", "--port", str(port), "--dtype", dtype),
        *("--enforce-eager", "--max-model-len", "512", "--max-num-seqs", "32", "--generation-config", "vllm"),
    ]
    with open(folder / "vllm.log", "w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, env={**environment, "PYTHONPATH": ":".join(path)}
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, folder / "vllm.log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            # It has processes of its own, all in the group that it leads.
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)


def installed(folder: Path) -> Path:
    """A folder that says of pacos what its wheel would: its entry points."""
    groups = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["entry-points"]
    about = folder / "installed" / "pacos-0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pacos\nVersion: 0\n")
    lines = [f"[{group}]\n" + "".join(f"{a} = {b}\n" for a, b in names.items()) for group, names in groups.items()]
    (about / "entry_points.txt").write_text("\n".join(lines))
    return about.parent


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            with urlopen(address, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(1)
    raise AssertionError(log.read_text()[-4000:])
