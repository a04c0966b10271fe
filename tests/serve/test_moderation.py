"""Moderation on the served app: it fails closed, says what kind was withheld, offers help, and has its own API."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import openai
import pytest

from pacos.core.recipe import EngineTable
from pacos.guard import CATEGORIES, ModerationChain, open_moderation
from tests.serve.conftest import ScriptedEngine, Served
from tests.servers.openai_server import OpenAIServer, scripted_faults

QUESTION = [{"role": "user", "content": "Tell me something."}]


def client_of(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def guarded_by(server: OpenAIServer) -> ModerationChain:
    return open_moderation("llama-guard:g", {"g": EngineTable(engine="http", base_url=server.base_url)})


def post(url: str, body: Any) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_question_that_cannot_be_checked_is_not_answered(start: Callable[..., Served]) -> None:
    with OpenAIServer(faults=lambda number: "500") as server:
        served = start(moderating=guarded_by(server))
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as error:
                client_of(served).chat.completions.create(model="tiny", messages=QUESTION, stream=stream)
            assert (error.value.status_code, error.value.code) == (503, "moderation_unavailable")
            assert error.value.response.headers["retry-after"] == "5"
        assert served.engine.requests == []
        status, told = post(f"{served.url}/v1/moderations", {"input": "x"})
        assert (status, told["error"]["code"]) == (503, "moderation_unavailable")
        assert "127.0.0.1" not in json.dumps(told)


def test_sentence_that_cannot_be_checked_is_never_shown(start: Callable[..., Served]) -> None:
    """The guard lets the question and the first sentence pass, then fails for good."""
    faults = scripted_faults(None, None, *["500"] * 8)
    pieces = ["Fine. ", "Never to be seen. ", "Nor this."]
    with OpenAIServer(faults=faults, text_of=lambda asked, seed: "safe") as server:
        served = start(ScriptedEngine(pieces), moderating=guarded_by(server))
        said: list[str] = []
        stream = client_of(served).chat.completions.create(model="tiny", messages=QUESTION, stream=True)
        with pytest.raises(openai.APIError, match="content filter cannot check") as error:
            said.extend(chunk.choices[0].delta.content or "" for chunk in stream)
        assert ("".join(said), error.value.code) == ("Fine. ", "moderation_unavailable")
    with OpenAIServer(faults=faults, text_of=lambda asked, seed: "safe") as server:
        served = start(ScriptedEngine(pieces), moderating=guarded_by(server))
        with pytest.raises(openai.InternalServerError) as refused:
            client_of(served).chat.completions.create(model="tiny", messages=QUESTION)
        assert (refused.value.status_code, refused.value.code) == (503, "moderation_unavailable")
        assert "Never" not in str(refused.value)


def test_guard_reads_an_answer_with_its_question(start: Callable[..., Served]) -> None:
    with OpenAIServer(text_of=lambda asked, seed: "unsafe\nS2" if "llama" in asked else "safe") as server:
        chain = guarded_by(server)
        served = start(ScriptedEngine(["Gladly. ", "Steal a llama. ", "Run."]), moderating=chain)
        answer = client_of(served).chat.completions.create(model="tiny", messages=QUESTION).choices[0]
    shown = [[message["content"] for message in body["messages"]] for body in server.bodies]
    assert shown == [
        ["Tell me something."],
        ["Tell me something.", "Gladly. "],
        ["Tell me something.", "Gladly. Steal a llama. "],
    ]
    assert answer.finish_reason == "content_filter"
    assert answer.message.content.startswith("Gladly. \n\n[")
    assert "(kind: illicit)" in answer.message.content
    assert chain.withheld == {("llama-guard:g", "illicit", "output"): 1}


def test_answer_to_an_empty_question_is_judged_as_an_answer(start: Callable[..., Served]) -> None:
    with OpenAIServer(text_of=lambda asked, seed: "unsafe\nS2" if "llama" in asked else "safe") as server:
        chain = guarded_by(server)
        served = start(ScriptedEngine(["Steal a llama."]), moderating=chain)
        answer = client_of(served).completions.create(model="tiny", prompt="").choices[0]
    assert [[message["role"] for message in body["messages"]] for body in server.bodies] == [["user", "assistant"]]
    assert answer.finish_reason == "content_filter"
    assert chain.withheld == {("llama-guard:g", "illicit", "output"): 1}


def test_refusal_says_its_kind_and_is_counted_once(start: Callable[..., Served]) -> None:
    chain = open_moderation("blocklist")
    served = start(moderating=chain, takes_conversation=True)
    turns = ["Hello", "Hello there", "How do I make a bomb?"]
    messages = [
        {"role": role, "content": text} for role, text in zip(["user", "assistant", "user"], turns, strict=True)
    ]
    with pytest.raises(openai.BadRequestError, match=r"kind: illicit/violent"):
        client_of(served).chat.completions.create(model="tiny", messages=messages)
    assert chain.withheld == {("blocklist", "illicit/violent", "input"): 1}


@pytest.mark.parametrize("text", ["I want to kill myself.", "What is the most painless way to commit suicide?"])
def test_person_in_distress_is_told_where_to_find_help(start: Callable[..., Served], text: str) -> None:
    served = start(moderating=open_moderation("blocklist"))
    with pytest.raises(openai.BadRequestError) as error:
        client_of(served).chat.completions.create(model="tiny", messages=[{"role": "user", "content": text}])
    assert error.value.code == "content_filter"
    for named in ("emergency services", "findahelpline.com"):
        assert named in error.value.message
    assert "refused" not in error.value.message
    assert served.engine.requests == []


def test_help_stands_behind_a_refusal_whose_kind_may_be_another(start: Callable[..., Served]) -> None:
    """ShieldGemma's one word for danger does not say to whom."""
    with OpenAIServer(text_of=lambda asked, seed: "Yes" if "No Dangerous Content" in asked else "No") as server:
        engine = EngineTable(engine="http", base_url=server.base_url, api="completions")
        served = start(moderating=open_moderation("shieldgemma:g", {"g": engine}))
        with pytest.raises(openai.BadRequestError) as error:
            client_of(served).chat.completions.create(model="tiny", messages=QUESTION)
    assert "refused" in error.value.message
    assert "(kind: illicit/violent, self-harm)" in error.value.message
    assert "findahelpline.com" in error.value.message


def test_blank_text_is_nothing_to_judge(start: Callable[..., Served]) -> None:
    with OpenAIServer(faults=lambda number: "400") as server:
        served = start(moderating=guarded_by(server))
        assert post(f"{served.url}/v1/moderations", {"input": " \n"})[1]["results"][0]["flagged"] is False
    assert server.bodies == []


def test_moderations_endpoint_speaks_openais_shape_to_its_client(start: Callable[..., Served]) -> None:
    chain = open_moderation("blocklist")
    served = start(moderating=chain)
    client = client_of(served)
    reply = client.moderations.create(input=["How do I make a bomb?", "How do I bake bread?"], model="any")
    assert [result.flagged for result in reply.results] == [True, False]
    assert reply.results[0].categories.illicit_violent is True
    assert reply.results[0].category_scores.illicit_violent == 1.0
    assert reply.results[0].category_applied_input_types.violence == ["text"]
    assert reply.model == "blocklist"
    parts = [{"type": "text", "text": "How do I make"}, {"type": "text", "text": "a bomb?"}]
    assert [result.flagged for result in client.moderations.create(input=parts).results] == [True]
    raw = post(f"{served.url}/v1/moderations", {"input": "hello"})[1]["results"][0]
    assert list(raw["categories"]) == list(CATEGORIES)
    assert not chain.withheld


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        {},
        {"input": 7},
        {"input": []},
        {"input": ["x"] * 33},
        {"input": "x" * 32_001},
        {"input": ["x" * 16_001] * 2},
        {"input": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}]},
        {"input": "x", "model": 3},
        b'{"input": "\xff"}',
    ],
    ids=lambda body: repr(body)[:40],
)
def test_moderations_endpoint_refuses_what_it_cannot_judge(shared_server: Served, body: Any) -> None:
    status, told = post(f"{shared_server.url}/v1/moderations", body)
    assert status == 400
    assert told["error"]["code"]


def test_server_without_moderation_does_not_call_texts_harmless(start: Callable[..., Served]) -> None:
    status, told = post(f"{start().url}/v1/moderations", {"input": "x"})
    assert (status, told["error"]["code"]) == (404, "moderation_off")


def test_moderation_off_withholds_nothing() -> None:
    assert asyncio.run(open_moderation("off").withhold("How do I make a bomb?")) is None
