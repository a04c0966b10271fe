"""The app in front of a server that runs the model: a real process, and a real loopback server that comes and goes."""

import json
import os
import random
import select
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import httpx2
import openai
import pytest

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.serve.tokens import Tokens
from pacos.serve.upstream import server_table
from pacos.watermark import read_settings
from tests.serve.conftest import eventually
from tests.servers.openai_server import Handler, OpenAIServer, always

KEY = "sk-of-the-operator"
SERVE = """
import sys
from pathlib import Path
from pacos.core.recipe import EngineTable, ServeTable
from pacos.serve.run import run
folder, model, address = sys.argv[1:]
elsewhere = EngineTable(engine="http", base_url=address, model="theirs", api="completions", api_key_env="ITS_KEY")
run(Path(folder), ServeTable(port=0, model=model, engine="elsewhere", moderation="off"), {"elsewhere": elsewhere})
"""
UNMARKED = ["".join(random.Random(seed).choices(string.ascii_lowercase + " ", k=700)) for seed in range(3)]


class EndlessHandler(Handler):
    """Streams until it is hung up on, and keeps models as vLLM shows them."""

    def do_GET(self) -> None:  # noqa: N802
        self.send_json(200, {"object": "list", "data": [{"id": "theirs", "object": "model", "max_model_len": 300}]})

    def stream(self, text: str, reason: str, body: dict[str, Any]) -> None:
        if "without end" not in text:
            return super().stream(text, reason, body)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        while not self.owner.closing.is_set():
            event = {"id": "c", "object": "text_completion", "created": 0, "model": "theirs"}
            self.wfile.write(f"data: {json.dumps(event | {'choices': [{'index': 0, 'text': 'on '}]})}\n\n".encode())
            self.wfile.flush()
            time.sleep(0.02)


class Upstream(OpenAIServer):
    handler = EndlessHandler


@contextmanager
def serving(folder: Path, model: Path, address: str) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder), str(model), address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "ITS_KEY": KEY},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def metric(url: str, name: str) -> float:
    lines = urlopen(f"{url}/metrics").read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name) and not line.startswith("#"))


def test_a_server_that_comes_goes_and_returns(tiny_model: Path, tmp_path: Path) -> None:
    """One process for all of it, since most of its time goes into starting."""
    said = ["Hello from elsewhere."]

    def upstream(port: int = 0, **more: Any) -> Upstream:
        return Upstream(text_of=lambda prompt, seed: said[0], key=KEY, port=port, **more)

    # A port that nobody listens on yet.
    reserved = upstream()
    reserved._http.server_close()
    address = reserved.base_url
    with serving(tmp_path, tiny_model, address) as process:
        assert select.select([process.stderr], [], [], 60)[0]
        assert "waits for the engine" in process.stderr.readline()
        # The settings that the server is to be started with are there.
        assert read_settings(tmp_path / "serve" / "watermark.json").scheme == "lefthash"
        with upstream(reserved.port) as server:
            url = process.stdout.readline().partition(" at ")[2].split()[0]
            client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
            name = client.models.list().data[0].id
            assert client.models.list().data[0].model_dump()["max_model_len"] == 300

            answer = client.chat.completions.create(
                model=name, messages=[{"role": "user", "content": "Is </s> a word?"}],
                seed=3, frequency_penalty=0.5, logit_bias={"7": -5}, extra_body={"top_k": 9, "min_p": 0.1},
            )  # fmt: skip
            assert answer.choices[0].message.content == "Hello from elsewhere."
            sent = server.bodies[-1]
            tokenizer = Tokens(str(tiny_model)).tokenizer
            assert sent["model"] == "theirs"
            assert "Is </s> a word?" in tokenizer.decode(sent["prompt"], skip_special_tokens=True)
            assert tokenizer.eos_token_id not in sent["prompt"]
            # What the server has room for, whatever the checkpoint has.
            assert sent["max_tokens"] == 300 - len(sent["prompt"])
            shape = {"top_k": 9, "min_p": 0.1, "frequency_penalty": 0.5, "logit_bias": {"7": -5.0}, "seed": 3}
            assert sent.items() >= shape.items()

            with pytest.raises(openai.BadRequestError, match="Logprobs: only a local engine") as refused:
                client.completions.create(model=name, prompt="x", logprobs=1)
            assert refused.value.code == "invalid_prompt"

            # A visitor who leaves takes the place upstream along.
            said[0] = "without end"
            stream = client.completions.create(model=name, prompt="x", stream=True, max_tokens=50)
            next(iter(stream))
            assert server.in_flight == 1
            stream.close()
            assert eventually(lambda: server.in_flight == 0)

            # Long answers without the mark are counted; each passes for marked with one key in a hundred.
            for text in UNMARKED:
                said[0] = text
                client.completions.create(model=name, prompt="x", max_tokens=250)
            assert eventually(lambda: metric(url, "pacos_watermark_checked") == 3)
            assert metric(url, "pacos_watermark_missing") >= 1

        for _ in range(2):
            response = httpx2.post(f"{url}/v1/completions", json={"model": name, "prompt": "x"})
            assert response.status_code == 503
            assert int(response.headers["Retry-After"]) > 0
            assert response.json()["error"]["code"] == "engine_unavailable"
            assert "127.0.0.1" not in response.text
            assert KEY not in response.text
        # What only its operator can mend tells no more.
        with upstream(reserved.port, faults=always("404")):
            response = httpx2.post(f"{url}/v1/completions", json={"model": name, "prompt": "x"})
            assert (response.status_code, response.json()["error"]["code"]) == (503, "engine_unavailable")
        with upstream(reserved.port, faults=always("echo-key")):
            response = httpx2.post(f"{url}/v1/completions", json={"model": name, "prompt": "x"})
            assert KEY not in response.text
        said[0] = "Back again."
        with upstream(reserved.port):
            response = httpx2.post(f"{url}/v1/completions", json={"model": name, "prompt": "x"})
            assert response.json()["choices"][0]["text"] == "Back again."


def test_a_server_that_refuses_the_key_is_one_line(tiny_model: Path, tmp_path: Path) -> None:
    with Upstream(key="another") as server, serving(tmp_path, tiny_model, server.base_url) as process:
        _, err = process.communicate(timeout=60)
        assert process.returncode != 0
        assert "ITS_KEY" in err.splitlines()[-1]
        assert KEY not in err


def test_a_table_that_cannot_serve_is_refused() -> None:
    with pytest.raises(PacosError, match="expected a name of"):
        server_table("there", {})
    for table in (EngineTable(), EngineTable(engine="http", base_url="http://127.0.0.1:1/v1")):
        with pytest.raises(PacosError, match="prompts go out as token ids"):
            server_table("there", {"there": table})
