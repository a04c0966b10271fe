"""`run` as a process on a real checkpoint: starts, answers, marks, stops; and what it cannot start with."""

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import openai
import pytest

from pacos.core.errors import PacosError
from pacos.core.prompts import render_prompt
from pacos.core.recipe import ServeTable
from pacos.engines import Message, Request, Sampling, open_engine
from pacos.serve.marking import watermark_settings
from pacos.serve.model import Prompt, find_model
from pacos.serve.run import run
from pacos.serve.tokens import Tokens
from pacos.watermark import WatermarkSettings, detect_text, read_settings
from tests.servers.openai_server import OpenAIServer

SERVE = """
import sys
from pathlib import Path
from pacos.core.recipe import ServeTable
from pacos.serve.run import run
run(Path(sys.argv[1]), ServeTable(port=0, review_password_env="REVIEWERS"))
"""


@pytest.fixture
def finished_run(tmp_path: Path, tiny_model: Path) -> Path:
    """A run folder whose train stage is done."""
    folder = tmp_path / "my-run"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "model").symlink_to(tiny_model)
    (folder / "train" / "done.json").write_text("{}")
    return folder


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "REVIEWERS": "a password"},
    )
    try:
        line = process.stdout.readline()
        assert "my-run at http://127.0.0.1:" in line, line + process.stderr.read()
        yield process, line.partition(" at ")[2].split()[0]
    finally:
        process.kill()
        process.communicate()


def test_answers_carry_the_mark_and_ctrl_c_stops_cleanly(finished_run: Path, tiny_model: Path) -> None:
    """One process for all of it, since most of its time goes into starting."""
    with serving(finished_run) as (process, url):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        request = {"model": "my-run", "messages": [{"role": "user", "content": "Read the fox"}], "max_tokens": 200}
        answer = client.chat.completions.create(**request, seed=1)
        assert 0 < answer.usage.completion_tokens <= 200
        assert answer.usage.prompt_tokens > 10
        streamed = client.chat.completions.create(**request, seed=1, stream=True)
        text = answer.choices[0].message.content
        assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == text

        # Several answers, since an unlucky key leaves a single one of a random model near the threshold.
        for seed in range(2, 6):
            text += client.chat.completions.create(**request, seed=seed).choices[0].message.content
        settings = read_settings(finished_run / "serve" / "watermark.json")
        assert detect_text(text, tiny_model, settings).z_score > 4
        assert detect_text(text, tiny_model, replace(settings, key=settings.key + 2)).z_score < 4

        form = urlencode({"password": "a password"}).encode()
        with urlopen(f"{url}/review/login", form) as page:
            assert page.url == f"{url}/review"
        with pytest.raises(HTTPError, match="401"):
            urlopen(f"{url}/review/login", b"password=")

        with pytest.raises(PacosError, match="another pacos serve is at work"):
            run(finished_run, ServeTable(port=0))

        # Stopped while an answer streams.
        next(iter(client.completions.create(model="my-run", prompt="fox", max_tokens=400, stream=True)))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "Traceback" not in err
        assert "stopped" in out
    assert (finished_run / "serve" / "store.sqlite").exists()


def test_mark_keeps_its_key_over_restarts_and_its_owner_alone_reads_it(tmp_path: Path) -> None:
    (tmp_path / ".watermark.json.partial").touch(0o666)
    first = watermark_settings(tmp_path, 400, "{}")
    assert watermark_settings(tmp_path, 400, "{}") == first
    assert {file.name for file in tmp_path.iterdir()} == {"watermark.json", "tokenizer.json"}
    assert (tmp_path / "watermark.json").stat().st_mode & 0o777 == 0o600
    assert watermark_settings(tmp_path / "other", 400, "{}").key != first.key
    with pytest.raises(PacosError, match="another tokenizer's tokens"):
        watermark_settings(tmp_path, 400, "[]")


def test_model_with_another_vocabulary_is_refused_and_the_key_stays(
    refusal: Callable[..., str], finished_run: Path
) -> None:
    folder = finished_run / "serve"
    watermark_settings(folder, 32_000, "{}")
    (folder / ".lock").touch()
    before = (folder / "watermark.json").read_text()
    line = refusal()
    assert "32,000" in line
    assert "remove serve/watermark.json" in line
    assert (folder / "watermark.json").read_text() == before


def test_moderation_that_does_not_work_is_found_before_anything_is_served(refusal: Callable[..., str]) -> None:
    assert "expected blocklist, openai" in refusal(moderation="blacklist")
    with OpenAIServer(text_of=lambda asked, seed: "As an AI language model, I") as server:
        named = f"qwen3guard:{server.base_url}"
        assert "its reply is no verdict" in refusal(moderation=("blocklist", named))
    assert "moderation 'qwen3guard:" in refusal(moderation=named)


def test_serve_folder_that_cannot_be_made(refusal: Callable[..., str], finished_run: Path) -> None:
    (finished_run / "serve").write_text("a file where the folder should be")
    assert "cannot be written" in refusal()


@pytest.mark.parametrize("prompt", ["Read the fox", (Message("user", "Read"), Message("assistant", "the fox"))])
def test_usage_is_counted_as_the_engine_counts_it(tiny_model: Path, tmp_path: Path, prompt: Prompt) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_text("{% for m in messages %}<s>{{ m.role }}: {{ m.content }}{% endfor %}")

    async def last() -> object:
        engine = open_engine(f"local:{folder}")
        deltas = [delta async for delta in engine.stream(Request("r", prompt, Sampling(1)))]
        await engine.close()
        return deltas[-1].reply

    reply = asyncio.run(last())
    tokens = Tokens(str(folder))
    assert len(tokens.of_prompt(prompt, parse_special_tokens=False)) == reply.usage.prompt_tokens
    assert tokens.usage(0, "the quick fox").completion_tokens > 2


@pytest.fixture
def refusal(finished_run: Path) -> Callable[..., str]:
    """The one line that `run` fails with, and nothing left behind but what was there."""

    def attempt(folder: Path = finished_run, **table: object) -> str:
        before = sorted(folder.rglob("*")) if folder.exists() else None
        with pytest.raises(PacosError) as error:
            run(folder, ServeTable(**{"port": 0, **table}))
        assert "\n" not in str(error.value)
        assert (sorted(folder.rglob("*")) if folder.exists() else None) == before
        return str(error.value)

    return attempt


def test_unfinished_missing_and_empty_runs(refusal: Callable[..., str], finished_run: Path, tmp_path: Path) -> None:
    (finished_run / "train" / "done.json").unlink()
    assert "not finished" in refusal()
    assert "no such run folder" in refusal(tmp_path / "nowhere")
    (finished_run / "train" / "model").unlink()
    (finished_run / "train" / "done.json").write_text("{}")
    assert "no config.json" in refusal()


def test_proxy_that_is_no_address_is_refused_before_anything_starts(refusal: Callable[..., str]) -> None:
    assert "'proxy.example'" in refusal(trusted_proxies=("127.0.0.1", "proxy.example"))


def test_alpacas_own_template_is_told_from_a_chat_models(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_model, folder)
    plain = find_model(tmp_path, str(folder))
    assert (plain.has_template, plain.takes_conversation) == (False, False)
    before, after = render_prompt("|").split("|")
    (folder / "chat_template.jinja").write_text(f"{before}{{{{ messages[-1].content }}}}{after}")
    student = find_model(tmp_path, str(folder))
    assert (student.has_template, student.takes_conversation) == (True, False)
    assert student.prompt((Message("user", "x"),)) == render_prompt("x")
    (folder / "chat_template.jinja").write_text("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}")
    assert find_model(tmp_path, str(folder)).takes_conversation


def test_model_that_is_none(refusal: Callable[..., str], tmp_path: Path) -> None:
    assert "no such model folder" in refusal(model=str(tmp_path / "no" / "model"))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert "cannot be opened" in refusal(model=str(tmp_path))


def test_weights_are_known_by_their_hash_whole_or_in_shards(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_model, folder)
    weights = folder / "model.safetensors"
    assert find_model(tmp_path, str(folder)).sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    weights.unlink()
    digests = []
    for name in ("model-00002-of-00002", "model-00001-of-00002"):
        (folder / f"{name}.safetensors").write_text(name)
        digests.insert(0, hashlib.sha256(name.encode()).hexdigest())
    assert find_model(tmp_path, str(folder)).sha256 == hashlib.sha256("".join(digests).encode()).hexdigest()
    for shard in folder.glob("*.safetensors"):
        shard.unlink()
    with pytest.raises(PacosError, match="no weights there"):
        find_model(tmp_path, str(folder))


def test_port_in_use(refusal: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"serve.port: {port} on 127.0.0.1 is in use" in refusal(port=port)


def test_terms_that_are_missing_or_empty(refusal: Callable[..., str], tmp_path: Path) -> None:
    assert "no such file" in refusal(terms=str(tmp_path / "terms.md"))
    (tmp_path / "terms.md").write_text(" \n")
    assert "are empty" in refusal(terms=str(tmp_path / "terms.md"))


def test_a_model_is_served_without_a_run(tiny_model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pacos", "serve", "--model", str(tiny_model), "serve.port=0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "serve: loading the model\n"
            address = process.stdout.readline().partition(" at ")[2].split()[0]
            client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
            answer = client.completions.create(
                model=tiny_model.name, prompt="the quick", max_tokens=120, temperature=1.0
            )
            with pytest.raises(openai.BadRequestError) as error:
                client.completions.create(model=tiny_model.name, prompt="the quick brown " * 200)
            assert error.value.code == "context_length_exceeded"
            assert "holds 512" in error.value.message
            assert str(tiny_model) not in error.value.message
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
    # Its files are a run's: the text is detected by them, and the same model is served again from there.
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("serve-")
    (tmp_path / "text").write_text(answer.choices[0].text)
    told = subprocess.run(
        [sys.executable, "-m", "pacos", "detect", "text", "--run", str(folder)],
        capture_output=True, text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert "scored tokens" in told.stdout, told.stderr


def test_serving_nothing_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pacos", "serve"]
    told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert "--model NAME" in told.stderr


def test_the_keyed_scheme_in_an_older_runs_settings_is_kept_and_gets_its_tokenizer(tmp_path: Path) -> None:
    chosen = WatermarkSettings(scheme="threefry", vocab_size=400, key=2**100 + 1)
    chosen.write(tmp_path / "watermark.json")
    assert watermark_settings(tmp_path, 400, "{}") == chosen
    assert (tmp_path / "tokenizer.json").read_text() == "{}"
