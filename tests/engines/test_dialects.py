"""What the servers' documentation and reports show of their dialects, through a real server on a loopback socket."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from pacos.asking.budget import Budget
from pacos.core.errors import PacosError
from pacos.engines import Delta, Failure, Reply, Request, Sampling
from pacos.engines.http import HttpEngine, http_engine
from tests.engines.conftest import Clock
from tests.engines.door import PRICED, ask, complete_all, echo, requests, table
from tests.servers.openai_server import OpenAIServer, always, answer, scripted_faults

pytestmark = pytest.mark.usefixtures("quick")

Rewrite = Callable[[dict[str, Any]], object]


def reply_to(rewrite: Rewrite, **keys: object) -> Reply:
    with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
        reply = ask(server, **keys)["r0"]
    assert isinstance(reply, Reply)
    return reply


def streamed(server: OpenAIServer, request: Request | None = None) -> list[Delta]:
    async def collect() -> list[Delta]:
        engine = HttpEngine(table(server))
        return [delta async for delta in engine.stream(request or Request("r", "x", Sampling(max_tokens=900)))]

    return asyncio.run(collect())


def finishing(**choice: object) -> Rewrite:
    """Every choice of every answer, and the last event of a stream, ends like this."""

    def rewrite(said: dict[str, Any]) -> None:
        for part in said["choices"]:
            if "message" in part or part.get("finish_reason"):
                part.update(choice)

    return rewrite


ENDINGS: list[tuple[object, str]] = [
    *[(word, "stop") for word in ("stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE")],
    *[(word, "stop") for word in ("FINISH_REASON_STOP", "REASON_STOP", {"type": "stop", "matched": 2})],
    *[(word, "length") for word in ("length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens")],
    *[(word, "length") for word in ("tool_calls", "function_call", "tool_use", {"type": "length", "length": 9})],
    *[(word, "content_filter") for word in ("content_filter", "SAFETY", "RECITATION", "PROHIBITED_CONTENT")],
    *[(word, "content_filter") for word in ("content_filter: RECITATION", "refusal", "sensitive", "BLOCKLIST", "SPII")],
]
FAILED = ["error", "ERROR", "insufficient_system_resource", "abort", "network_error", "MALFORMED_FUNCTION_CALL"]
UNKNOWN = [None, "", "OTHER", "no_such_word", 1, 2.5, True, [], ["stop"], {}, {"type": None}, "null", "load"]


@pytest.mark.parametrize(("word", "meant"), ENDINGS, ids=lambda value: str(value))
def test_why_a_text_ends_is_read_in_every_dialect(word: object, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite = finishing(finish_reason=word)
    assert reply_to(rewrite).finish_reason == meant
    with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
        reply = streamed(server)[-1].reply
    assert reply is not None
    assert reply.finish_reason == meant
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("word", FAILED)
def test_an_answer_that_the_server_broke_off_is_asked_again(word: str) -> None:
    def rewrite(said: dict[str, Any]) -> None:
        if len(server.bodies) == 1:
            said["choices"][0]["finish_reason"] = word

    with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
        reply = ask(server, **PRICED)["r0"]
    assert isinstance(reply, Reply)
    assert (reply.text, reply.attempts) == ("You said: prompt 0", 2)
    # What was written of it may be billed.
    assert reply.unseen_usd > 0


@pytest.mark.parametrize("word", UNKNOWN, ids=str)
def test_a_word_that_nobody_knows_never_means_a_whole_text_and_is_said_once(
    word: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with OpenAIServer(text_of=echo, rewrite=finishing(finish_reason=word)) as server:
        answers = ask(server, 5)
    assert {reply.finish_reason for reply in answers.values() if isinstance(reply, Reply)} == {"length"}
    assert len(answers) == 5
    [line] = capsys.readouterr().err.splitlines()
    assert server.base_url in line
    assert repr(word) in line


def test_no_reason_at_all_is_a_cut_text_whole_or_streamed() -> None:
    def rewrite(said: dict[str, Any]) -> None:
        for part in said["choices"]:
            part.pop("finish_reason")

    assert reply_to(rewrite).finish_reason == "length"
    with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
        reply = streamed(server)[-1].reply
    assert reply is not None
    assert reply.finish_reason == "length"
    # A text that reached its stop string is whole, whatever the server says.
    with OpenAIServer(text_of=echo, rewrite=rewrite, refused_parameters=("stop",)) as server:
        stopped = complete_all(HttpEngine(table(server)), requests(1, stop=("prompt",)))["r0"]
    assert isinstance(stopped, Reply)
    assert (stopped.text, stopped.finish_reason) == ("You said: ", "stop")


@pytest.mark.parametrize(
    ("said", "native", "meant"),
    [
        ("stop", "end_turn", "stop"),
        ("stop", "no_such_word", "stop"),
        ("stop", "MAX_TOKENS", "length"),
        ("stop", "SAFETY", "content_filter"),
        (None, "STOP", "stop"),
        ("length", "STOP", "length"),
    ],
)
def test_the_word_of_the_server_behind_a_gateway_counts(said: object, native: str, meant: str) -> None:
    assert reply_to(finishing(finish_reason=said, native_finish_reason=native)).finish_reason == meant


def test_new_words_without_end_do_not_fill_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    rewrite = lambda said: said["choices"][0].update(finish_reason=f"word\x1b[2J{len(server.bodies)}")  # noqa: E731
    with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
        ask(server, 40, concurrency=1)
    said = capsys.readouterr().err
    assert 0 < len(said.splitlines()) <= 10
    assert "\x1b" not in said


# What the answer counts -> prompt, completion and cached tokens. The text asked and the one answered count 3 and 6.
USAGES: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "OpenAI": (
        {
            "usage": {
                **{"prompt_tokens": 1200, "completion_tokens": 300, "total_tokens": 1500},
                "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 256, "accepted_prediction_tokens": 0},
            }
        },
        (1200, 300, 1024),
    ),
    "OpenAI Responses": (
        {
            "usage": {
                **{"input_tokens": 75, "output_tokens": 1186, "total_tokens": 1261},
                "input_tokens_details": {"cached_tokens": 64},
                "output_tokens_details": {"reasoning_tokens": 1024},
            }
        },
        (75, 1186, 64),
    ),
    "xAI": (
        {
            "usage": {
                **{"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135},
                "prompt_tokens_details": {"text_tokens": 32, "cached_tokens": 6},
                "completion_tokens_details": {"reasoning_tokens": 94},
            }
        },
        (32, 103, 6),
    ),
    "Gemini": ({"usage": {"prompt_tokens": 20, "completion_tokens": 424, "total_tokens": 1016}}, (20, 996, 0)),
    "Gemini, only thoughts": (
        {
            "usage": {
                **{"prompt_tokens": 21, "completion_tokens": 0, "total_tokens": 81},
                "completion_tokens_details": {"reasoning_tokens": 60},
            }
        },
        (21, 60, 0),
    ),
    "a gateway that sums up itself": (
        {
            "usage": {
                **{"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14},
                "completion_tokens_details": {"reasoning_tokens": 317},
            }
        },
        (12, 319, 0),
    ),
    "reasoning without a total": (
        {
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 50,
                "completion_tokens_details": {"reasoning_tokens": 40},
            }
        },
        (10, 90, 0),
    ),
    "SGLang": (
        {
            "usage": {
                **{"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 60, "reasoning_tokens": 40},
                "prompt_tokens_details": None,
            }
        },
        (10, 50, 0),
    ),
    "DeepSeek": (
        {
            "usage": {
                **{"prompt_tokens": 18, "completion_tokens": 120, "total_tokens": 138},
                **{"prompt_cache_hit_tokens": 10, "prompt_cache_miss_tokens": 8},
                "completion_tokens_details": {"reasoning_tokens": 100},
            }
        },
        (18, 120, 10),
    ),
    "DeepSeek, parts alone": (
        {"usage": {"prompt_cache_hit_tokens": 10, "prompt_cache_miss_tokens": 8, "completion_tokens": 12}},
        (18, 12, 10),
    ),
    "Anthropic": (
        {
            "usage": {
                **{"input_tokens": 21, "output_tokens": 393},
                **{"cache_creation_input_tokens": 188, "cache_read_input_tokens": 1000},
            }
        },
        (1209, 393, 1000),
    ),
    "Groq": (
        {
            "usage": None,
            "x_groq": {"id": "req_1", "usage": {"prompt_tokens": 18, "completion_tokens": 556, "total_tokens": 574}},
        },
        (18, 556, 0),
    ),
    "Moonshot": ({"usage": {"prompt_tokens": 19, "completion_tokens": 21, "cached_tokens": 10}}, (19, 21, 10)),
    "llama.cpp": (
        {
            "usage": {"prompt_tokens": 0, "completion_tokens": 35, "total_tokens": 35},
            "timings": {"cache_n": 236, "prompt_n": 1, "predicted_n": 35, "predicted_ms": 661.1},
        },
        (237, 35, 236),
    ),
    "Ollama": ({"usage": None, "prompt_eval_count": 26, "eval_count": 259}, (26, 259, 0)),
    "Gemini's own": (
        {
            "usage": {},
            "usageMetadata": {
                **{"promptTokenCount": 21, "candidatesTokenCount": 7, "thoughtsTokenCount": 60},
                **{"totalTokenCount": 88, "cachedContentTokenCount": 16},
            },
        },
        (21, 67, 16),
    ),
    "two counts of one thing": (
        {
            "usage": {
                **{"prompt_tokens": 100, "completion_tokens": 5, "output_tokens": 50, "cached_tokens": 90},
                "prompt_tokens_details": {"cached_tokens": 60},
            }
        },
        (100, 50, 60),
    ),
    "more cached than read": (
        {"usage": {"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 60, "total_tokens": 15}},
        (10, 5, 0),
    ),
    "a total alone": ({"usage": {"total_tokens": 103}}, (2, 101, 0)),
    "a total below its parts": (
        {"usage": {"prompt_tokens": 30, "completion_tokens": 40, "total_tokens": 1}},
        (30, 40, 0),
    ),
    "null": ({"usage": None}, (2, 6, 0)),
    "zeros": ({"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}, (2, 6, 0)),
    "less than nothing": (
        {"usage": {"prompt_tokens": -7, "completion_tokens": -1, "cached_tokens": -5, "total_tokens": -8}},
        (2, 6, 0),
    ),
    "a list": ({"usage": [1, 2]}, (2, 6, 0)),
    "whole numbers with a point": ({"usage": {"prompt_tokens": 12.0, "completion_tokens": 8.0}}, (12, 8, 0)),
}


@pytest.mark.parametrize("name", USAGES)
def test_tokens_are_counted_in_every_dialect_and_the_dearer_reading_counts(name: str) -> None:
    patch, (prompt, completion, cached) = USAGES[name]
    prices = {"input_usd_per_mtok": 1.0, "cached_input_usd_per_mtok": 0.1, "output_usd_per_mtok": 10.0}
    usd = ((prompt - cached) * 1.0 + cached * 0.1 + completion * 10.0) / 1e6
    reply = reply_to(lambda said: said.update(patch), **prices)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (prompt, completion)
    assert reply.usage.cached_tokens == cached
    assert reply.usd == pytest.approx(usd)


@pytest.mark.parametrize(
    "last",
    [
        {"usage": {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 116}},
        {"usage": None, "x_groq": {"usage": {"prompt_tokens": 7, "completion_tokens": 109}}},
        {"usage": None, "choices": [{"delta": {}, "usage": {"prompt_tokens": 7, "completion_tokens": 109}}]},
        {"usage": None, "timings": {"prompt_n": 7, "predicted_n": 109}},
    ],
    ids=["OpenAI", "Groq", "Moonshot", "llama.cpp"],
)
def test_a_stream_is_counted_by_what_its_last_event_says(last: dict[str, Any]) -> None:
    with OpenAIServer(text_of=echo, rewrite=lambda said: said.update(last) if "usage" in said else None) as server:
        reply = streamed(server)[-1].reply
    assert reply is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (7, 109)


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({"cost": 0.25}, 0.25),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, 0.21),
        ({"cost": 0.2, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.2}}, 0.2),
        ({"cost": {"total_cost": 0.3, "currency": "USD"}}, 0.3),
        ({"estimated_cost": 0.04}, 0.04),
        # Less than by the recipe's own prices, or no price at all.
        *[({"cost": cost}, 0.003) for cost in (0, 0.001, -5, None, "free", True, float("nan"), float("inf"))],
    ],
    ids=str,
)
def test_what_the_server_says_that_it_cost_counts_where_it_is_more(usage: dict[str, Any], usd: float) -> None:
    counts = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    assert reply_to(lambda said: said.update(usage=counts | usage), **PRICED).usd == pytest.approx(usd)


def test_a_server_that_bills_more_than_was_asked_for_makes_no_budget_overshoot() -> None:
    """Reasoning that max_tokens does not limit: what one reply costs too much is reserved for the next."""

    def rewrite(said: dict[str, Any]) -> None:
        said["usage"] = {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 410}

    asked = list(requests(60))
    with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
        keys = table(server, concurrency=1, max_usd=10.0, **PRICED)
        budget, engine = Budget("teacher", keys, 0.0), HttpEngine(keys)

        async def go() -> None:
            for request in asked:
                if not budget.reserve(request):
                    return
                async for reply in engine.complete([request]):
                    budget.settle(reply)

        asyncio.run(go())
        spent = len(server.bodies) * (10 * 1000 + 400 * 2000) / 1e6
    assert budget.spent_usd == pytest.approx(spent)
    assert 8.0 < spent <= 10.0
    assert "next request may cost up to 0.8" in str(budget.exhausted(asked[-1]))


GEMINI_MINUTE = {
    "error": {
        "code": 429,
        "message": "You exceeded your current quota, please check your plan and billing details. For more information "
        "on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [
                    {
                        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
                        "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
                        "quotaValue": "15",
                    }
                ],
            },
            {
                "@type": "type.googleapis.com/google.rpc.Help",
                "links": [{"description": "Learn more", "url": "https://x"}],
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"},
        ],
    }
}
CREDITS = (
    "Your team 1 has either used all available credits or reached its monthly spending limit. To continue making API "
    "requests, please purchase more credits or raise your spending limit."
)


def error(message: str, **more: object) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


# Status and body -> the failure's kind, and whether it is the end of the run.
FAILURES: dict[str, tuple[int, Any, str, bool]] = {
    # What cannot pass.
    "OpenAI, empty": (429, error("You exceeded your current quota.", code="insufficient_quota"), "quota", True),
    "OpenAI, no code": (429, error("You exceeded your current quota, please check your plan."), "quota", True),
    "OpenAI, hard limit": (400, error("Billing hard limit reached", code="billing_hard_limit_reached"), "quota", True),
    "OpenAI, inactive": (429, error("Your account is not active.", type="billing_not_active"), "quota", True),
    "Perplexity": (401, error("You exceeded your quota", type="insufficient_quota", code=401), "quota", True),
    "Moonshot": (429, error("Your account is suspended.", type="exceeded_current_quota_error"), "quota", True),
    "Anthropic": (400, error("Your credit balance is too low.", type="invalid_request_error"), "quota", True),
    "DeepSeek": (402, error("Insufficient Balance", type="unknown_error", param=None), "quota", True),
    "xAI, empty": (429, {"code": "Some resource has been exhausted", "error": CREDITS}, "quota", True),
    "xAI, new": (403, {"code": "no", "error": "Your team doesn't have any credits or licenses yet."}, "quota", True),
    "OpenRouter, 200": (200, error("Insufficient credits", code=402), "quota", True),
    "OpenAI, key": (401, error("Incorrect API key provided.", code="invalid_api_key"), "auth", True),
    "Gemini, key": (
        400,
        [
            {
                "error": {
                    **{"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"},
                    "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
                }
            }
        ],
        "auth",
        True,
    ),
    "xAI, key": (400, {"code": "Client specified an invalid argument", "error": "Incorrect API key: x"}, "auth", True),
    "vLLM, key": (401, {"error": "Unauthorized"}, "auth", True),
    "OpenRouter, key in 200": (200, error("No auth credentials found", code=401), "auth", True),
    "Mistral, key": (401, {"detail": "Unauthorized"}, "auth", True),
    "Mistral, model": (
        400,
        {"object": "error", "message": "Invalid model: x", "type": "invalid_model"},
        "bad_request",
        True,
    ),
    "vLLM, model": (
        404,
        {"object": "error", "message": "The model `x` does not exist.", "code": 404},
        "bad_request",
        True,
    ),
    "Azure, deployment": (404, error("No deployment.", code="DeploymentNotFound"), "bad_request", True),
    "DeepSeek, model": (400, error("Model Not Exist", type="invalid_request_error"), "bad_request", True),
    "Ollama, model": (404, error("model 'x' not found", type="api_error"), "bad_request", True),
    "LM Studio, model": (404, error("No models loaded.", param="model", code="model_not_found"), "bad_request", True),
    "OpenRouter, model": (400, error("x/y is not a valid model ID", code=400), "bad_request", True),
    # What is one request's own.
    "OpenAI, long": (
        400,
        error("This model's maximum context length is 9 tokens.", param="messages"),
        "context_length",
        False,
    ),
    "OpenAI, long by code": (400, error("No.", code="context_length_exceeded"), "context_length", False),
    "OpenAI, per minute": (
        429,
        error("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 31538.", type="tokens"),
        "context_length",
        False,
    ),
    "Groq, per minute": (
        413,
        error("Request too large for model `x`: Limit 6000, Requested 6294.", code="rate_limit_exceeded"),
        "context_length",
        False,
    ),
    "nginx": (413, "<html><h1>413 Request Entity Too Large</h1></html>", "context_length", False),
    "Gemini, long": (
        400,
        [
            error(
                "The input token count (9) exceeds the maximum number of tokens allowed (1).", status="INVALID_ARGUMENT"
            )
        ],
        "context_length",
        False,
    ),
    "Mistral, long": (
        400,
        {
            "object": "error",
            "message": "Prompt contains 66385 tokens, too large for model with 32768 maximum context length",
        },
        "context_length",
        False,
    ),
    "xAI, long": (
        400,
        {"code": "x", "error": "This model's maximum prompt length is 131072 but the request contains 140000 tokens."},
        "context_length",
        False,
    ),
    "vLLM, long": (
        400,
        {
            **{"object": "error", "type": "BadRequestError", "param": None, "code": 400},
            "message": "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context "
            "length is 4096 tokens and your request has 14 input tokens",
        },
        "context_length",
        False,
    ),
    "SGLang, long": (
        400,
        {"object": "error", "message": "The input (9 tokens) is longer than the model's context length (4 tokens)."},
        "context_length",
        False,
    ),
    "llama.cpp, long": (
        400,
        error("the request exceeds the available context size", type="exceed_context_size_error", n_ctx=256, code=400),
        "context_length",
        False,
    ),
    "llama.cpp, long in 200": (
        200,
        error("the request exceeds the available context size", type="exceed_context_size_error", code=400),
        "context_length",
        False,
    ),
    "LM Studio, long": (
        400,
        {"error": "Trying to keep the first 15857 tokens when context the overflows."},
        "context_length",
        False,
    ),
    "LM Studio, long in 200": (
        200,
        {"error": "The number of tokens to keep from the initial prompt is greater than the context length."},
        "context_length",
        False,
    ),
    "TGI, long": (
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096.",
            "error_type": "validation",
        },
        "context_length",
        False,
    ),
    "Anthropic, long": (400, error("prompt is too long: 205 tokens > 200 maximum"), "context_length", False),
    "OpenRouter, long": (
        400,
        error(
            "Provider returned error",
            code=400,
            metadata={"raw": json.dumps(error("x", code="context_length_exceeded"))},
        ),
        "context_length",
        False,
    ),
    "FastAPI": (422, {"detail": [{"loc": ["body", "messages"], "msg": "Field required"}]}, "bad_request", False),
    "a text": (400, "Bad Request", "bad_request", False),
    "a value": (400, error("max_tokens is too large: 100000. It supports at most 4096."), "bad_request", False),
    "Mistral, a value": (
        422,
        {
            "object": "error",
            "message": {
                "detail": [
                    {
                        **{"type": "less_than_equal", "loc": ["body", "temperature"], "input": 1.31},
                        "msg": "Input should be less than or equal to 1",
                    }
                ]
            },
        },
        "bad_request",
        False,
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_an_error_means_is_read_in_every_dialect(name: str) -> None:
    status, body, kind, fatal = FAILURES[name]
    with OpenAIServer(always(answer(status, body)), echo) as server:
        failure = ask(server)["r0"]
        assert len(server.bodies) == 1
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.fatal, failure.unseen_usd) == (kind, fatal, 0)
    assert "\n" not in failure.message


FILTERED: dict[str, tuple[int, Any]] = {
    "Azure": (
        400,
        error(
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
            **{"code": "content_filter", "param": "prompt", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        ),
    ),
    "Azure by LiteLLM": (
        400,
        error("No.", code="400", innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}}),
    ),
    "OpenRouter": (403, error("Your input was flagged", code=403, metadata={"reasons": ["x"], "flagged_input": "y"})),
    "xAI": (403, {"code": "The caller does not have permission", "error": "Content violates usage guidelines."}),
    "OpenAI": (400, error("Your prompt was flagged as potentially violating our usage policy.", code="invalid_prompt")),
    "in 200": (200, error("No.", code="content_filter")),
}


@pytest.mark.parametrize("name", FILTERED)
def test_a_prompt_that_is_filtered_is_an_empty_reply(name: str) -> None:
    with OpenAIServer(always(answer(*FILTERED[name])), echo) as server:
        reply = ask(server)["r0"]
    assert isinstance(reply, Reply)
    assert (reply.text, reply.finish_reason) == ("", "content_filter")


PASSING: dict[str, tuple[int, Any]] = {
    "Gemini": (429, [GEMINI_MINUTE]),
    "Gemini, without a wait": (
        429,
        [error("Resource has been exhausted (e.g. check quota).", status="RESOURCE_EXHAUSTED")],
    ),
    "Gemini in itself": (429, error(json.dumps(GEMINI_MINUTE), code=429, status="Too Many Requests")),
    "Vertex": (429, error("Quota exceeded for generate_content_requests_per_minute_per_project.", code=429)),
    "Alibaba": (429, error("You exceeded your current quota: 60 requests per minute", type="limit_requests")),
    "OpenRouter in 200": (200, error("Provider returned error", code=429, metadata={"raw": "try later"})),
    "OpenRouter, away": (
        200,
        error("Network connection lost.", code=502, metadata={"error_type": "provider_unavailable"}),
    ),
    "Groq": (429, error("Rate limit reached. Need more tokens? Upgrade at https://x/settings/billing", type="tokens")),
    "DeepSeek, busy": (503, error("Server overloaded")),
    "Ollama, busy": (503, {"error": "server busy, please try again.  maximum pending requests exceeded"}),
    "llama.cpp, loading": (503, error("Loading model", type="unavailable_error", code=503)),
    "LM Studio": (200, {"error": "The model has crashed without additional information."}),
    "a text in 200": (200, {"detail": "Upstream is away"}),
    "nothing to choose": (200, {"id": None, "choices": None}),
    "Cloudflare": (520, "<html><title>520</title></html>"),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_can_pass_is_asked_again(name: str, clock: Clock) -> None:
    with OpenAIServer(scripted_faults(None, answer(*PASSING[name])), echo) as server:
        answers = ask(server, 2, concurrency=1)
    assert [(type(reply), reply.attempts) for reply in answers.values()] == [(Reply, 1), (Reply, 2)]


@pytest.mark.parametrize("inside", [True, False], ids=["in a choice", "beside the choices"])
def test_an_error_beside_half_a_text_is_no_reply(inside: bool) -> None:
    failed = error("Provider disconnected", code=502)

    def rewrite(said: dict[str, Any]) -> None:
        if len(server.bodies) == 1:
            said["choices"][0].update(finish_reason="error")
            (said["choices"][0] if inside else said).update(failed)

    with OpenAIServer(text_of=echo, rewrite=rewrite) as server:
        reply = ask(server, **PRICED)["r0"]
    assert isinstance(reply, Reply)
    assert reply.attempts == 2
    assert reply.unseen_usd > 0


@pytest.mark.parametrize("nothing", [None, "", {}, {"code": 0, "message": ""}], ids=str)
def test_an_error_that_says_nothing_is_none(nothing: object) -> None:
    assert reply_to(lambda said: said.update(error=nothing)).text == "You said: prompt 0"


def test_what_a_gateway_wraps_is_shown() -> None:
    raw = json.dumps(error("Model 'x' supports at most 1 image."))
    with OpenAIServer(always(answer(400, error("Provider returned error", code=400, metadata={"raw": raw})))) as server:
        failure = ask(server)["r0"]
    assert isinstance(failure, Failure)
    assert "Provider returned error: Model 'x' supports at most 1 image" in failure.message


def test_an_error_in_the_middle_of_a_stream_is_one_line() -> None:
    def rewrite(said: dict[str, Any]) -> None:
        if said["choices"] and said["choices"][0].get("finish_reason"):
            said["error"] = {"code": 402, "message": "Insufficient credits"}

    with OpenAIServer(text_of=echo, rewrite=rewrite) as server, pytest.raises(PacosError, match="no quota left"):
        streamed(server)


def test_prompts_that_are_all_too_long_are_the_recipes_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_engine, "TOO_LONG_IN_A_ROW", 4)
    long = answer(400, error("No.", code="context_length_exceeded"))
    with OpenAIServer(lambda number: None if number == 2 else long, echo) as server:
        answers = ask(server, 8, concurrency=1)
    kinds = [reply.kind if isinstance(reply, Failure) else "" for reply in answers.values()]
    # Whoever asks stops after several bad requests in a row, and after no number of long prompts.
    assert kinds == ["context_length"] * 2 + [""] + ["context_length"] * 3 + ["bad_request"] * 2


DATE = "Tue, 24 Nov 2026 10:00:00 GMT"
EPOCH = 1_795_514_400
LIMIT = "rate_limit_exceeded"
# Status, body and headers -> how long it waits.
WAITS: dict[str, tuple[int, Any, dict[str, str], float]] = {
    "seconds": (429, error("Slow.", code=LIMIT), {"Retry-After": "3"}, 3),
    "part of a second": (429, error("Slow.", code=LIMIT), {"Retry-After": "2.5"}, 2.5),
    "a duration": (429, error("Slow.", code=LIMIT), {"Retry-After": "1m2s"}, 62),
    "milliseconds": (429, error("Slow.", code=LIMIT), {"retry-after-ms": "1500", "Retry-After": "9"}, 1.5),
    "OpenAI": (
        429,
        error("Rate limit reached. Please try again in 20s.", code=LIMIT),
        {"x-ratelimit-remaining-tokens": "9", "x-ratelimit-reset-tokens": "6m0s"},
        20,
    ),
    "Groq": (
        429,
        error("Rate limit reached on TPD. Please try again in 9m38.016s. Need more?", code=LIMIT),
        {},
        578.016,
    ),
    "OpenAI, soon": (429, error("Please try again in 6ms.", code=LIMIT), {}, 0.006),
    "Azure": (429, error("Requests have exceeded the rate limit. Please retry after 26 seconds.", code="429"), {}, 26),
    "Azure API Management": (
        429,
        {"statusCode": 429, "message": "Rate limit is exceeded. Try again in 27 seconds."},
        {},
        27,
    ),
    "Moonshot": (429, error("max RPM: 3, please try again after 1 seconds", type="rate_limit_reached_error"), {}, 1),
    "minutes": (429, error("Wait 2 minutes and 5 seconds.", code=LIMIT), {}, 125),
    "Gemini": (429, [GEMINI_MINUTE], {}, 37),
    "Gemini, words": (
        429,
        [error("Quota exceeded. Please retry in 47.434392449s.", status="RESOURCE_EXHAUSTED")],
        {},
        47.434,
    ),
    "header before body": (429, [GEMINI_MINUTE], {"Retry-After": "5"}, 5),
    "body before words": (
        429,
        error("Please try again in 50s.", code=LIMIT, details=[{"retryDelay": {"seconds": 4, "nanos": 500_000_000}}]),
        {},
        4.5,
    ),
    "a bill that passes": (
        429,
        error("You exceeded your current quota.", code="insufficient_quota", retry_after=8),
        {},
        8,
    ),
    "OpenRouter": (
        429,
        error(
            "Rate limit exceeded: free-models-per-min.",
            code=429,
            metadata={"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{(EPOCH + 11) * 1000}"}},
        ),
        {"Date": DATE},
        11,
    ),
    "seconds since 1970": (
        429,
        error("Slow.", code=LIMIT),
        {"Date": DATE, "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(EPOCH + 12)},
        12,
    ),
    "RFC 3339": (
        429,
        error("Slow.", type="rate_limit_error"),
        {
            "Date": DATE,
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2026-11-24T10:00:13Z",
        },
        13,
    ),
    "Mistral": (
        429,
        {"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited", "code": "1300"},
        {"ratelimitbysize-remaining": "9", "ratelimit-remaining": "0", "ratelimit-reset": "14"},
        14,
    ),
    "in 200": (200, error("Slow. Try again in 15s.", code=429), {}, 15),
    "Hugging Face": (503, {"error": "Model x is currently loading", "estimated_time": 20.0}, {}, 20),
    "FastAPI": (429, {"detail": "Too many requests", "retry_after": 16}, {}, 16),
    "page": (429, "<html>Too many</html>", {"Retry-After": "17"}, 17),
}


@pytest.mark.parametrize("name", WAITS)
def test_how_long_to_wait_is_read_in_every_dialect(name: str, clock: Clock) -> None:
    status, body, headers, seconds = WAITS[name]
    fault = answer(status, body, **{key.replace("-", "_"): value for key, value in headers.items()})
    with OpenAIServer(scripted_faults(fault), echo) as server:
        reply = ask(server, 1, concurrency=1)["r0"]
        waited = server.arrivals[1] - server.arrivals[0]
    assert isinstance(reply, Reply)
    # The jitter is a tenth of a second at most.
    assert seconds - 0.01 <= waited <= seconds + 0.12


@pytest.mark.parametrize("said", ["soon", "nan", "inf", "-5", "1e9", "", "tomorrow"])
def test_a_wait_that_is_none_is_none(said: str, clock: Clock) -> None:
    with OpenAIServer(scripted_faults(answer(429, error("Slow."), Retry_After=said)), echo) as server:
        assert isinstance(ask(server, 1)["r0"], Reply)
        assert server.arrivals[1] - server.arrivals[0] < 1


def extra(name: str) -> dict[str, Any]:
    return {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": 1}


# Status and what a server says of a parameter -> the one that is left out.
REFUSALS: dict[str, tuple[int, Callable[[str], Any], str]] = {
    "OpenAI": (
        400,
        lambda name: error(f"Unsupported parameter: '{name}' is not supported with this model.", param=name),
        "temperature",
    ),
    "OpenAI, value": (
        400,
        lambda name: error(
            f"Unsupported value: '{name}' does not support 0.7 here. Only the default (1) value is supported.",
            param=name,
            code="unsupported_value",
        ),
        "temperature",
    ),
    "OpenAI, words alone": (400, lambda name: error(f"Unrecognized request argument supplied: {name}"), "seed"),
    "OpenAI, code alone": (400, lambda name: error("No.", param=name, code="unsupported_parameter"), "top_p"),
    "rename": (
        400,
        lambda name: error(
            f"Unsupported parameter: '{name}' is not supported with this model. Use 'max_completion_tokens' instead.",
            param=name,
        ),
        "max_tokens",
    ),
    "Azure": (400, lambda name: error(f"Unrecognized request argument supplied: {name}", param=None), "seed"),
    "Mistral": (
        422,
        lambda name: {"object": "error", "message": {"detail": [extra(name)]}, "type": "invalid_request_error"},
        "seed",
    ),
    "FastAPI": (422, lambda name: {"detail": [extra(name)]}, "top_p"),
    "pydantic's words": (
        400,
        lambda name: {"object": "error", "message": f"[{extra(name)}]", "type": "BadRequestError", "code": 400},
        "seed",
    ),
    "Groq": (400, lambda name: error(f"property '{name}' is unsupported", type="invalid_request_error"), "seed"),
    "xAI": (
        400,
        lambda name: {
            "code": "Client specified an invalid argument",
            "error": f"Argument not supported on this model: {name}",
        },
        "stop",
    ),
    "xAI, camels": (400, lambda name: {"code": "x", "error": "Model grok does not support parameter topP."}, "top_p"),
    "Gemini": (
        400,
        lambda name: [error(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.', code=400)],
        "seed",
    ),
    "LiteLLM": (400, lambda name: error(f"groq does not support parameters: ['{name}'], for model=x."), "seed"),
    "Moonshot": (400, lambda name: error(f"invalid {name}: only 1 is allowed for this model"), "temperature"),
    "Anthropic": (
        400,
        lambda name: error("`temperature` and `top_p` cannot both be specified for this model. Please use only one."),
        "top_p",
    ),
    "OpenRouter": (
        400,
        lambda name: error(
            "Provider returned error",
            code=400,
            metadata={"raw": json.dumps(error(f"Unsupported parameter: '{name}'.", param=name))},
        ),
        "temperature",
    ),
    "in 200": (200, lambda name: error(f"Unsupported parameter: '{name}'", code=400), "temperature"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_parameter_that_is_refused_in_any_dialect_is_left_out_or_renamed_once(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, words, parameter = REFUSALS[name]
    sampling = {"temperature": 0.7, "top_p": 0.9, "stop": ("END",), "seed": 3}
    whole = {"temperature": 0.7, "top_p": 0.9, "stop": ["END"], "seed": 3, "max_tokens": 100}
    fault = answer(status, words(parameter))
    with OpenAIServer(lambda n: fault if parameter in server.bodies[n] else None, echo) as server:
        answers = complete_all(HttpEngine(table(server, concurrency=1)), requests(3, **sampling))
    assert [(type(reply), reply.attempts) for reply in answers.values()] == [(Reply, 2), (Reply, 1), (Reply, 1)]
    assert len(server.bodies) == 4
    expected = {key: value for key, value in whole.items() if key != parameter}
    expected |= {"max_completion_tokens": 100} if parameter == "max_tokens" else {}
    sent = [{key: value for key, value in body.items() if key not in ("model", "messages")} for body in server.bodies]
    assert sent == [whole, expected, expected, expected]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == (parameter not in ("stop", "max_tokens"))


def test_a_stream_is_asked_for_without_what_the_server_refuses() -> None:
    def fault(number: int) -> str | None:
        refused = next((name for name in ("stream_options", "seed") if name in server.bodies[number]), None)
        return refused and answer(422, {"detail": [extra(refused)]})

    request = Request("r", "x", Sampling(max_tokens=9, seed=1))
    with OpenAIServer(fault, echo) as server:
        reply = streamed(server, request)[-1].reply
        assert len(server.bodies) == 3
    assert reply is not None
    assert (reply.text, reply.left_out) == ("You said: x", ("seed",))


ANSWER = "Red, as it is. See 1 < 2."
# What the text holds -> what is read of it.
THINKING: dict[str, tuple[str, str]] = {
    "DeepSeek": (f"<think>\nI draft <b>:\n4. Instruction: x\n</think>\n\n{ANSWER}", ANSWER),
    "empty": (f"<think>\n\n</think>\n\n{ANSWER}", ANSWER),
    "behind a line": (f"\n\n<think>a</think>{ANSWER}", ANSWER),
    "capitals": (f"<THINK>a</THINK>{ANSWER}", ANSWER),
    "thinking": (f"<thinking>a</thinking>\n{ANSWER}", ANSWER),
    "Gemini": (f"<thought>\na\n</thought>\n{ANSWER}", ANSWER),
    "Kimi": (f"◁think▷a◁/think▷{ANSWER}", ANSWER),
    "Magistral": (f"[THINK]a[/THINK]{ANSWER}", ANSWER),
    "Seed": (f"<seed:think>a</seed:think>{ANSWER}", ANSWER),
    "Command": (f"<|START_THINKING|>a<|END_THINKING|>{ANSWER}", ANSWER),
    "gpt-oss": (
        f"<|channel|>analysis<|message|>a < b<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>",
        ANSWER,
    ),
    "gpt-oss, started": (
        f"<|start|>assistant<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}",
        ANSWER,
    ),
    "gpt-oss, marks taken out": (f"analysisThe user wants red.assistantfinal{ANSWER}", ANSWER),
    "two blocks": (f"<think>a</think>\n<think>b</think>\n{ANSWER}", ANSWER),
    "a mark in the thoughts": (f"<think>a <think> b</think>\n{ANSWER}", ANSWER),
    "wrapped": (f"<think>a</think>\n<answer>\n{ANSWER}\n</answer>", ANSWER),
    "one mark too many": (f"[THINK]a[/THINK]{ANSWER}[/THINK]", ANSWER),
    "gpt-oss, no thoughts": (f"<|channel|>final<|message|>{ANSWER}", ANSWER),
    "nothing behind": ("<think>a</think>", ""),
    "cut": ("<think>\nI draft:\n4. Instruction: x", ""),
    "cut, gpt-oss": ("<|channel|>analysis<|message|>I draft 4. Instruction: x", ""),
    # None of these thinks.
    "plain": (ANSWER, ANSWER),
    "blanks before": (f"  {ANSWER}", f"  {ANSWER}"),
    "a word": ("analysis of an answer, Here is my", "analysis of an answer, Here is my"),
    "marks further down": (f"Write <think>x</think>\n{ANSWER}", f"Write <think>x</think>\n{ANSWER}"),
    "a block further down": (f"{ANSWER}\n<think>\nx\n</think>\nend", f"{ANSWER}\n<think>\nx\n</think>\nend"),
    "a tag": (f"<b>{ANSWER}</b>", f"<b>{ANSWER}</b>"),
    "a lone sign": ("<", "<"),
    "quoted": (f"It ends with `</think>`. {ANSWER}", f"It ends with `</think>`. {ANSWER}"),
}


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("name", THINKING)
def test_what_a_model_thinks_aloud_is_no_text(name: str, api: str) -> None:
    text, read = THINKING[name]
    with OpenAIServer(text_of=lambda prompt, seed: text) as server:
        reply = ask(server, api=api, keep_raw=True)["r0"]
        shown = streamed(server)
    assert isinstance(reply, Reply)
    assert reply.text == read
    assert reply.finish_reason == ("stop" if read else "length")
    assert json.dumps(text)[1:-1] in reply.raw[1]  # type: ignore[index]
    last = shown[-1].reply
    assert last is not None
    assert (last.text, last.finish_reason) == (reply.text, reply.finish_reason)
    pieces = "".join(delta.text for delta in shown)
    # What closes an answer is only known at its end.
    assert pieces.startswith(last.text) if name in ("wrapped", "gpt-oss", "one mark too many") else pieces == last.text


@pytest.mark.parametrize("glue", ["\n</think>\n\n", "</think>", ".\n</think>", ". </think> "], ids=repr)
def test_thoughts_that_a_template_began_end_at_their_closing_mark(glue: str) -> None:
    with OpenAIServer(text_of=lambda prompt, seed: f"I draft\n4. Instruction: x{glue}{ANSWER}") as server:
        reply = ask(server)["r0"]
    assert isinstance(reply, Reply)
    assert (reply.text, reply.finish_reason) == (ANSWER, "stop")


def test_a_reply_that_is_cut_in_the_thoughts_that_a_template_began_holds_none() -> None:
    whole = f"{'I draft 4. Instruction: x. ' * 5}\n</think>\n\n{ANSWER}"
    with OpenAIServer(lambda n: "length" if n in (1, 3) else None, lambda prompt, seed: whole) as server:
        engine = HttpEngine(table(server, concurrency=1))
        replies = complete_all(engine, requests(4)).values()
    assert [reply.text for reply in replies if isinstance(reply, Reply)] == [ANSWER, "", ANSWER, ""]
    # Of a server whose whole replies have no such mark, a cut one is a text.
    texts = iter(["A whole one.", f"It is\n</think>\n{ANSWER}", "One that is cut in the middle."])
    with OpenAIServer(lambda n: "length" if n == 2 else None, lambda prompt, seed: next(texts)) as server:
        replies = complete_all(HttpEngine(table(server, concurrency=1)), requests(3)).values()
    assert [reply.text for reply in replies if isinstance(reply, Reply)][2] == "One that is cut in t"


def test_a_stop_string_in_the_thoughts_ends_no_text() -> None:
    text = f"<think>\nEND of a draft\n</think>\n{ANSWER} END x"
    with OpenAIServer(text_of=lambda prompt, seed: text, rewrite=lambda said: None) as server:
        server.refused_parameters = ("stop",)
        reply = complete_all(HttpEngine(table(server)), requests(1, stop=("END",)))["r0"]
    assert isinstance(reply, Reply)
    assert (reply.text, reply.finish_reason) == (f"{ANSWER} ", "stop")


BESIDE: dict[str, dict[str, Any]] = {
    "DeepSeek, vLLM, SGLang, llama.cpp, LM Studio, xAI": {"reasoning_content": "I draft 4. Instruction: x"},
    "OpenRouter, Groq, Ollama": {
        "reasoning": "I draft",
        "reasoning_details": [{"type": "reasoning.text", "text": "I"}],
    },
    "Ollama": {"thinking": "I draft"},
    "Mistral": {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "I draft"}]},
            {"type": "text", "text": ANSWER},
        ]
    },
    "Anthropic": {
        "content": [
            {"type": "thinking", "thinking": "I draft", "signature": "x"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": ANSWER},
        ]
    },
    "parts": {"content": [{"type": "reasoning", "text": "I draft"}, {"type": "output_text", "text": ANSWER}]},
}


@pytest.mark.parametrize("name", BESIDE)
def test_thoughts_beside_the_text_are_no_text(name: str) -> None:
    def rewrite(said: dict[str, Any]) -> None:
        for part in said["choices"]:
            if "message" in part or part["delta"].get("content"):
                part["message" if "message" in part else "delta"] |= BESIDE[name]

    with OpenAIServer(text_of=lambda prompt, seed: ANSWER[:7] if "content" in BESIDE[name] else ANSWER) as server:
        server.rewrite = rewrite
        reply, shown = ask(server, keep_raw=True)["r0"], streamed(server)
    assert isinstance(reply, Reply)
    assert (reply.text, reply.finish_reason) == (ANSWER, "stop")
    assert "I draft" in reply.raw[1]  # type: ignore[index]
    assert "".join(delta.text for delta in shown) == ANSWER


@pytest.mark.parametrize("content", [None, "", [], [{"type": "thinking", "thinking": "I draft"}]], ids=str)
def test_a_reply_of_thoughts_alone_is_never_whole(content: object) -> None:
    def rewrite(said: dict[str, Any]) -> None:
        said["choices"][0]["message"] = {"content": content, "reasoning_content": "I draft 4. Instruction: x" * 9}
        said.pop("usage")

    reply = reply_to(rewrite, output_usd_per_mtok=1.0)
    assert (reply.text, reply.finish_reason) == ("", "length")
    # It was written, and is paid for.
    assert reply.usage.completion_tokens >= 75


@pytest.mark.parametrize(
    "message",
    [{"content": None, "refusal": "I cannot."}, {"content": [{"type": "refusal", "refusal": "I cannot."}]}],
    ids=["OpenAI", "OpenAI, parts"],
)
def test_a_refusal_beside_the_text_is_a_filter(message: dict[str, Any]) -> None:
    reply = reply_to(lambda said: said["choices"][0].update(message=message))
    assert (reply.text, reply.finish_reason) == ("", "content_filter")
