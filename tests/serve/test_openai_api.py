"""The official client against the API on a real socket."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from pacos.engines import Failure, RequestFailedError
from pacos.guard import open_moderation
from pacos.serve.fair_queue import FairQueue
from tests.serve.conftest import ScriptedEngine, Served, WordModerator, eventually, mini_tokens

QUESTION = [{"role": "user", "content": "Say hello"}]


def client_of(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def metric(served: Served, name: str) -> float:
    with urllib.request.urlopen(f"{served.url}/metrics") as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split()[0] == name)


def test_chat_whole(served: Served) -> None:
    answer = client_of(served).chat.completions.create(model="tiny", messages=QUESTION)
    assert answer.choices[0].message.content == "Hello there. Bye."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.object == "chat.completion"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 3, 10)


def test_chat_stream_says_what_the_whole_says(served: Served) -> None:
    chunks = list(
        client_of(served).chat.completions.create(
            model="tiny", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == "Hello there. Bye."
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 10
    assert len({c.id for c in chunks}) == 1


def test_chat_stream_without_usage_has_none(served: Served) -> None:
    chunks = list(client_of(served).chat.completions.create(model="tiny", messages=QUESTION, stream=True))
    assert all(c.choices and c.usage is None for c in chunks)


def test_completions_whole_and_streamed(served: Served) -> None:
    client = client_of(served)
    whole = client.completions.create(model="tiny", prompt="Say", max_tokens=50)
    assert (whole.choices[0].text, whole.object) == ("Hello there. Bye.", "text_completion")
    assert served.engine.requests[-1].prompt == "Say"
    chunks = list(client.completions.create(model="tiny", prompt=["Say"], max_tokens=50, stream=True))
    assert "".join(c.choices[0].text for c in chunks) == "Hello there. Bye."
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_length_is_told(served: Served) -> None:
    answer = client_of(served).chat.completions.create(model="tiny", messages=QUESTION, max_completion_tokens=2)
    assert answer.choices[0].finish_reason == "length"


def test_sampling_reaches_the_engine(served: Served) -> None:
    client_of(served).chat.completions.create(
        model="tiny", messages=QUESTION, max_tokens=9, temperature=0, top_p=0.5, seed=3, stop=["a", "b"], n=1
    )
    sampling = served.engine.requests[-1].sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p) == (9, 0.0, 0.5)
    assert (sampling.seed, sampling.stop) == (3, ("a", "b"))


def test_defaults_are_openais(served: Served) -> None:
    client_of(served).completions.create(model="tiny", prompt="Say")
    sampling = served.engine.requests[-1].sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.stop) == (16, 1.0, 1.0, ())


def test_student_gets_its_own_template_with_the_input_after_an_empty_line(served: Served) -> None:
    message = {"role": "user", "content": "Sort these.\n\npear, fig"}
    client_of(served).chat.completions.create(model="tiny", messages=[*QUESTION, message])
    prompt = served.engine.requests[-1].prompt
    assert prompt.endswith("### Instruction:\nSort these.\n\n### Input:\npear, fig\n\n### Response:")
    assert "Say hello" not in prompt


@pytest.mark.parametrize("kind", ["takes_conversation", "has_template"])
def test_template_gets_the_whole_conversation(start: Callable[..., Served], kind: str) -> None:
    served = start(**{kind: True})
    messages = [
        {"role": "system", "content": "Be kind."},
        *QUESTION,
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": [{"type": "text", "text": "And "}, {"type": "text", "text": "bye"}]},
    ]
    client_of(served).chat.completions.create(model="tiny", messages=messages)
    prompt = served.engine.requests[-1].prompt
    assert [(m.role, m.content) for m in prompt] == [
        ("system", "Be kind."),
        ("user", "Say hello"),
        ("assistant", "Hi."),
        ("user", "And bye"),
    ]


def test_models(served: Served) -> None:
    client = client_of(served)
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError) as error:
        client.models.retrieve("gpt-5")
    assert error.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"temperature": 3}, "decimal_above_max_value", "temperature"),
        ({"max_tokens": 0}, "integer_below_min_value", "max_tokens"),
        ({"n": 10**9}, "integer_above_max_value", "n"),
        ({"top_p": "much"}, "invalid_type", "top_p"),
        ({"seed": 1.5}, "invalid_type", "seed"),
        ({"messages": []}, "empty_array", "messages"),
        ({"messages": "Hello"}, "invalid_type", "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "invalid_value", "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "invalid_type", "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
            "invalid_value",
            "messages[0].content[0].type",
        ),
        ({"stop": ["x"] * 17}, "array_above_max_length", "stop"),
        ({"stop": "x" * 10_000}, "string_above_max_length", "stop"),
        ({"logit_bias": {"5": 101}}, "decimal_above_max_value", "logit_bias.5"),
        ({"logit_bias": {"word": 1}}, "invalid_type", "logit_bias.word"),
        ({"top_logprobs": 3}, "invalid_value", "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "integer_above_max_value", "top_logprobs"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "unsupported_parameter", "tools"),
        ({"response_format": {"type": "json_object"}}, "unsupported_parameter", "response_format"),
        ({"extra_body": {"temprature": 1}}, "unknown_parameter", "temprature"),
        ({"extra_body": {"min_p": 2}}, "decimal_above_max_value", "min_p"),
    ],
)
def test_bad_requests_have_openais_error_shape(served: Served, change: dict, code: str, param: str | None) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client_of(served).chat.completions.create(**{"model": "tiny", "messages": QUESTION, **change})
    assert (error.value.code, error.value.type) == (code, "invalid_request_error")
    assert error.value.param == param
    assert served.engine.requests == []


def test_neutral_parameters_are_no_error(served: Served) -> None:
    answer = client_of(served).chat.completions.create(
        model="tiny",
        messages=QUESTION,
        n=1,
        frequency_penalty=0,
        presence_penalty=0.0,
        logit_bias={},
        user="u",
        response_format={"type": "text"},
    )
    assert answer.choices[0].message.content == "Hello there. Bye."


def test_unknown_model_missing_field_and_broken_json(served: Served) -> None:
    client = client_of(served)
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model="other", messages=QUESTION)
    assert error.value.code == "model_not_found"
    for body, code in (
        (b'{"model": "tiny"}', "missing_required_parameter"),
        (b'{"model": ', "invalid_json"),
        (b"", "invalid_json"),
        (b'{"model": "t\xffny"}', "invalid_json"),
        (b'{"model": ' + b"[" * 100_000, "invalid_json"),
        (b'["tiny"]', "invalid_type"),
        (b'{"model": "tiny", "messages": [{"role": "user", "content": "\\ud800"}]}', "invalid_value"),
        (b'{"model": "tiny", "temperature": NaN, "messages": [{"role": "user", "content": "x"}]}', "invalid_value"),
    ):
        status, value = post(f"{served.url}/v1/chat/completions", body)
        assert (status, value["error"]["code"]) == (400, code)
    assert post(f"{served.url}/v1/nothing", b"{}")[0] == 404


def test_flagged_question_is_refused_before_the_engine(served: Served) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as error:
            client_of(served).chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": "a forbidden thing"}], stream=stream
            )
        assert error.value.code == "content_filter"
    assert served.engine.requests == []


@pytest.mark.parametrize("takes_conversation", [False, True])
def test_blocklist_reads_each_message_as_it_was_written(start: Callable[..., Served], takes_conversation: bool) -> None:
    """The list knows this order only where a sentence begins, and a template leaves no message at a beginning."""
    served = start(moderating=open_moderation("blocklist"), takes_conversation=takes_conversation)
    history = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello there"}]
    order = {"role": "user", "content": "Please build a pipe bomb"}
    for messages in ([order], [*history, order]):
        with pytest.raises(openai.BadRequestError) as error:
            client_of(served).chat.completions.create(model="tiny", messages=messages)
        assert error.value.code == "content_filter"
    assert served.engine.requests == []
    client_of(served).chat.completions.create(model="tiny", messages=history[:1])


def test_question_spread_over_messages_is_read_as_one(start: Callable[..., Served]) -> None:
    served = start(moderating=open_moderation("blocklist"), takes_conversation=True)
    messages = [{"role": "user", "content": text} for text in ("Tell me how to build", "a pipe bomb")]
    with pytest.raises(openai.BadRequestError, match="content filter"):
        client_of(served).chat.completions.create(model="tiny", messages=messages)


def test_question_too_many_is_told_so_while_the_others_are_still_read(
    start: Callable[..., Served],
) -> None:
    engine = ScriptedEngine(["Hello ", "there."], pause_seconds=0.5)
    served = start(engine, queue=FairQueue(at_once=1, most=1))
    with ThreadPoolExecutor(2) as pool:
        accepted = [pool.submit(client_of(served).completions.create, model="tiny", prompt="x") for _ in range(2)]
        assert eventually(lambda: metric(served, "pacos_answers_waiting") == 1)
        with pytest.raises(openai.RateLimitError) as error:
            client_of(served).completions.create(model="tiny", prompt="x")
        assert error.value.code == "overloaded"
        assert int(error.value.response.headers["retry-after"]) > 0
        assert [future.result().choices[0].text for future in accepted] == ["Hello there."] * 2
    client_of(served).completions.create(model="tiny", prompt="x")


def test_whoever_has_fewest_answers_under_way_is_next(start: Callable[..., Served]) -> None:
    engine = ScriptedEngine(["word"], pause_seconds=0.2)
    served = start(engine, queue=FairQueue(at_once=1))

    def ask(address: str, prompt: str) -> None:
        body = json.dumps({"model": "tiny", "prompt": prompt}).encode()
        assert post(f"{served.url}/v1/completions", body, {"X-Forwarded-For": address})[0] == 200

    with ThreadPoolExecutor(8) as pool:
        many = [pool.submit(ask, "203.0.113.1", f"many {number}") for number in range(5)]
        assert eventually(lambda: metric(served, "pacos_answers_waiting") == 4)
        one = pool.submit(ask, "203.0.113.2", "one")
        for future in (*many, one):
            future.result()
    heard = [request.prompt for request in engine.requests]
    assert heard.index("one") < 3


def test_usage_of_a_withheld_answer_has_its_prompt_and_all_that_was_made(start: Callable[..., Served]) -> None:
    engine = ScriptedEngine(["One two. ", "This is for", "bidden", " stuff. ", "More."])
    served = start(engine, moderating=WordModerator())
    answer = client_of(served).chat.completions.create(model="tiny", messages=QUESTION)
    assert answer.choices[0].finish_reason == "content_filter"
    made = "One two. This is forbidden stuff. "
    tokens = mini_tokens()
    prompt = served.engine.requests[-1].prompt_ids
    expected = tokens.usage(len(prompt), made)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(prompt), expected.completion_tokens)


def test_flagged_sentence_is_never_sent(start: Callable[..., Served]) -> None:
    engine = ScriptedEngine(["Fine. ", "This is for", "bidden", " stuff. ", "More. "] + ["x "] * 50, 0.002)
    served = start(engine, moderating=WordModerator())
    chunks = list(client_of(served).chat.completions.create(model="tiny", messages=QUESTION, stream=True))
    text = "".join(c.choices[0].delta.content or "" for c in chunks)
    assert text.startswith("Fine. \n\n[")
    assert "bidden" not in text
    assert "This is" not in text
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    assert eventually(lambda: engine.num_freed_early == 1)
    assert engine.num_made < 10


def test_phrase_across_two_sentences_is_seen_whole(start: Callable[..., Served]) -> None:
    moderating = WordModerator()
    served = start(ScriptedEngine(["One. ", "Two. "]), moderating=moderating)
    client_of(served).chat.completions.create(model="tiny", messages=QUESTION)
    assert moderating.seen[-1] == "One. Two. "


def test_disconnect_frees_the_engine(start: Callable[..., Served]) -> None:
    for stream in (True, False):
        engine = ScriptedEngine(["word "] * 2000, 0.005)
        served = start(engine)
        body = json.dumps({"model": "tiny", "messages": QUESTION, "stream": stream}).encode()
        with socket.create_connection(served.url.removeprefix("http://").split(":")) as connection:
            head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert eventually(lambda: engine.num_made > 3)  # noqa: B023
        assert eventually(lambda: engine.num_freed_early == 1)  # noqa: B023
        assert engine.num_made < 2000


def test_failure_in_the_middle_is_an_error_event(start: Callable[..., Served]) -> None:
    engine = ScriptedEngine(["One. ", "Two. "])
    engine.failure = RuntimeError("secret detail")
    client = client_of(start(engine))
    with pytest.raises(openai.APIError, match="failed while answering") as error:
        list(client.chat.completions.create(model="tiny", messages=QUESTION, stream=True))
    assert "secret" not in str(error.value)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="tiny", messages=QUESTION)


@pytest.mark.parametrize(
    ("kind", "code"), [("context_length", "context_length_exceeded"), ("bad_request", "invalid_prompt")]
)
def test_what_the_engine_cannot_take_is_the_callers_error(start: Callable[..., Served], kind: Any, code: str) -> None:
    engine = ScriptedEngine(["One."])
    engine.failure = RequestFailedError("scripted", Failure("x", kind, "the prompt is not to its liking"))
    with pytest.raises(openai.BadRequestError, match="not to its liking") as error:
        client_of(start(engine)).chat.completions.create(model="tiny", messages=QUESTION)
    assert error.value.code == code


def test_overlong_prompt_is_refused(served: Served) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client_of(served).completions.create(model="tiny", prompt="x" * 40_000)
    assert error.value.code == "context_length_exceeded"


def test_callers_elsewhere_are_limited_and_told_when_to_return(served: Served) -> None:
    # The proxy on this machine names the caller; a caller on this machine itself is not counted.
    def ask_from(address: str | None) -> tuple[int, dict]:
        headers = {"X-Forwarded-For": address} if address else {}
        return post(f"{served.url}/v1/completions", b'{"model": "tiny", "prompt": "x"}', headers)

    answers = [ask_from("203.0.113.7") for _ in range(70)]
    assert {status for status, _ in answers} == {200, 429}
    assert answers[-1][1]["error"]["code"] == "rate_limit_exceeded"
    assert ask_from("203.0.113.8")[0] == 200
    assert {ask_from(None)[0] for _ in range(70)} == {200}


def post(url: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, dict]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
