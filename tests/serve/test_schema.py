"""schemathesis over the server's own OpenAPI schema: whatever is sent, the answer is an answer or a clear refusal."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from pacos.core.models import MINI

CASES_EACH = 10
OPERATIONS = [
    "POST /v1/chat/completions", "POST /v1/completions", "POST /v1/moderations", "GET /v1/models/{name}",
    "POST /tokenize", "POST /detokenize", "POST /chat", "POST /comparisons", "POST /comparisons/{name}/vote",
    "POST /reports", "POST /shared", "GET /shared/{name}", "POST /detect", "the others",
]  # fmt: skip


class Site(NamedTuple):
    url: str
    folder: Path
    log: Path
    session: requests.Session
    schema: Any


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with all that it can have, of which a browser's session has accepted the terms."""
    folder = tmp_path_factory.mktemp("fuzzed-server")
    command = [sys.executable, "-m", "pacos", "serve", "--model", str(MINI), "serve.port=0", f"serve.compare={MINI}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PACOS_REVIEW_PASSWORD": "a password of the reviewers"}
    with (
        open(folder / "log", "w") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder, env=environment
        ) as process,
        requests.Session() as session,
    ):
        try:
            assert process.stdout
            process.stdout.readline()
            url = process.stdout.readline().partition(" at ")[2].split()[0]
            session.trust_env = False
            session.post(f"{url}/terms", allow_redirects=False)
            assert session.cookies
            schema = schemathesis.openapi.from_dict(session.get(f"{url}/openapi.json").json())
            schema.config.update(base_url=url)
            yield Site(url, folder, folder / "log", session, schema)
        finally:
            process.kill()


def check(site: Site, response: requests.Response) -> None:
    """No failure of the server's, no word of where it lies, and every error in OpenAI's shape."""
    body = response.text
    assert response.status_code < 500, body
    for told in ("Traceback", "site-packages", str(site.folder), str(Path(__file__).parents[2]), str(Path.home())):
        assert told not in body
    if response.status_code >= 400:
        error = json.loads(body)["error"]
        assert sorted(error) == ["code", "message", "param", "type"]
        assert isinstance(error["code"], str)
        assert error["message"].strip()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_an_answer_or_a_clear_refusal(site: Site, name: str, mode: GenerationMode) -> None:
    operations = [result.ok() for result in site.schema.get_all_operations()]
    labels = [operation.label for operation in operations]
    assert set(OPERATIONS[:-1]) <= set(labels)
    for operation in operations:
        if operation.label == name or (name == "the others" and operation.label not in OPERATIONS):
            fuzz(site, operation, mode)
    assert "Traceback" not in site.log.read_text()


def fuzz(site: Site, operation: Any, mode: GenerationMode) -> None:
    # A form's fields stand in no schema.
    @settings(
        max_examples=CASES_EACH, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(operation.as_strategy(generation_mode=mode), st.binary(max_size=40))
    def ask(case: Any, form: bytes) -> None:
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
            # Else every question would end at a model that is not here.
            case.body["model"] = MINI.name
            case.body["max_tokens"] = 2
        sent = {"data": form} if case.method == "POST" and not operation.body else {}
        check(site, case.call(session=site.session, timeout=30, allow_redirects=False, **sent))

    # Nothing is wrong for a route whose one parameter may be any text.
    with suppress(Unsatisfiable):
        ask()
