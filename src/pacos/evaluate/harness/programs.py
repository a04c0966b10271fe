"""Programs that pacos starts: another harness in an environment of its own, and our own server."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pacos.core.children import die_with_parent
from pacos.core.errors import PacosError

_READY = re.compile(r"^pacos serve: (?P<model>\S+) at (?P<address>http://\S+) ", re.MULTILINE)
# Another environment's programs are to find their own packages, and no hub.
_OTHERS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}

# HELM looks for a download at each start; a proxy that is not there ends that at once.
_NOWHERE = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


@dataclass(frozen=True)
class Endpoint:
    """A model behind OpenAI's protocol; `url` ends in /v1, `key_env` names the variable that holds its key, if any.

    `max_tokens` and `temperature` are how a judge is asked, where the harness leaves that to us.
    """

    url: str
    model: str
    key_env: str = ""
    max_tokens: int = 512
    temperature: float = 0.0


@dataclass(frozen=True)
class Command:
    """A harness's command; `keys` are variables that get the value of another one, which no file or line shows."""

    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        own = {**self.variables, **{name: f'"${key}"' if key else "none" for name, key in self.keys.items()}}
        return " ".join([*(f"{name}={value}" for name, value in own.items()), shlex.join(self.arguments)])


@dataclass(frozen=True)
class Installed:
    """A harness that is there: its program, and the version of its package."""

    program: Path
    version: str


def find_program(name: str, package: str, environment: Path | None) -> Installed | None:
    """The program of a harness in `environment`, or on PATH; None where it is not there.

    Raises PacosError where it is there and its package cannot be found by its own Python.
    """
    if environment is not None:
        path: str | None = str(environment.absolute() / "bin" / name)
    else:
        beside = Path(sys.executable).parent
        path = shutil.which(name, path=os.pathsep.join((str(beside), os.environ.get("PATH", os.defpath))))
    if path is None or not os.access(path, os.X_OK):
        return None
    with open(path, "rb") as file:
        first = file.readline().decode(errors="replace").strip()
    python = first.removeprefix("#!").strip() if first.startswith("#!/") and "python" in first else ""
    python = python if python and " " not in python else str(Path(path).parent / "python")
    asked = [python, "-c", f"from importlib.metadata import version; print(version({package!r}))"]
    try:
        done = subprocess.run(asked, env=_environment({}), capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PacosError(
            f"{path}: installed but broken: its Python, {python}, does not run ({error}); install it anew."
        ) from None
    if done.returncode:
        raise PacosError(f"{path}: installed but broken: {_last_line(done.stderr)}; install it anew.")
    return Installed(Path(path), done.stdout.strip())


def run_program(installed: Installed, command: Command, folder: Path, log: Path, is_offline: bool) -> None:
    """Runs a harness's command in `folder`, its output added to `log`; with `is_offline` it reaches this machine alone.

    Raises PacosError with the last line that it said where it ends with another code than 0.
    """
    keys = {name: os.environ.get(key, "") if key else "none" for name, key in command.keys.items()}
    nowhere = _NOWHERE if is_offline else {}
    with open(log, "ab") as output:
        output.write(f"$ {command}\n".encode())
        output.flush()
        began = output.tell()
        child = subprocess.Popen(
            [installed.program, *command.arguments[1:]],
            cwd=folder,
            env=_environment({**nowhere, **command.variables, **keys, "HF_HOME": str(folder.absolute() / "cache")}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        with _ended(child):
            code = child.wait()
    if code:
        said = _last_line(log.read_bytes()[began:].decode(errors="replace"))
        raise PacosError(
            f"{installed.program} ({installed.version}): ended with exit code {code}: {said}; all that it said is in "
            f"{log}."
        )


@contextmanager
def serving(model: str, log: Path) -> Iterator[Endpoint]:
    """Our own server of a model on a free port of this machine, without mark and moderation: the model is what counts.

    Raises PacosError where it does not start.
    """
    settings = ("serve.port=0", "serve.watermark=false", "serve.moderation=off")
    with tempfile.TemporaryDirectory(prefix="pacos-harness-") as folder, open(log, "wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "pacos", "serve", "--model", model, "--run", folder, *settings],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        with _ended(child):
            while (ready := _READY.search(said := log.read_text(errors="replace"))) is None:
                if child.poll() is not None:
                    raise PacosError(f"pacos serve --model {model} did not start: {_last_line(said)}")
                time.sleep(0.1)
            yield Endpoint(f"{ready['address']}/v1", ready["model"])


@contextmanager
def _ended(child: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    local = ",".join(filter(None, (os.environ.get("NO_PROXY", ""), "127.0.0.1,localhost")))
    return {**kept, "NO_PROXY": local, "no_proxy": local, **_OFFLINE, **variables}


def _last_line(said: str) -> str:
    """The last line with a word in it, without what frames it."""
    lines = [line.strip("│┃╭╰─ \t\r") for line in re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines()]
    return next((line for line in reversed(lines) if re.search(r"\w", line)), "it said nothing")[:300]
