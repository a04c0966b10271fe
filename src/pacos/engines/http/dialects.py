"""What servers make of one protocol: a table for each question, each row with whose dialect it is.

A source is a page of a server's documentation, or a report as repository#number. Words are compared without case and
without what stands between letters and digits. Whoever meets a new word adds a row here, and nothing elsewhere.
"""

import re
from typing import Literal

Ending = Literal["stop", "length", "content_filter", "failed"]
Kind = Literal["auth", "quota", "rate_limit", "timeout", "connection", "bad_request", "context_length", "server"]
Verdict = Literal["filtered", "missing"] | Kind


def plain(word: object) -> str:
    """A code or a key as the tables hold it."""
    return re.sub(r"[^a-z0-9]", "", str(word).lower())


# Why a text ends. "length" is a text that is not whole, for whatever reason; "failed" is asked again.
_ENDINGS: tuple[tuple[Ending, str, str], ...] = (
    ("stop", "stop", "OpenAI API reference, and nearly everyone; STOP: Gemini API reference"),
    ("stop", "eos eos_token stop_sequence", "Together AI docs; text-generation-inference; watsonx.ai"),
    ("stop", "end_turn complete completed", "Anthropic and Cohere, by OpenRouter's native_finish_reason"),
    ("stop", "eosFound stopStringFound", "LM Studio docs, stopReason"),
    ("length", "length", "OpenAI API reference, and nearly everyone"),
    ("length", "max_tokens", "Anthropic API reference; MAX_TOKENS: Gemini API reference; pi#1509"),
    ("length", "max_output_tokens max_length token_limit limit", "OpenAI Responses; watsonx.ai; llama.cpp"),
    ("length", "model_length", "Mistral API reference"),
    ("length", "model_context_window_exceeded max_len max_context", "Anthropic, Z.ai and xAI (gRPC) API references"),
    ("length", "maxPredictedTokensReached contextLengthReached userStopped", "LM Studio docs, stopReason"),
    ("length", "time_limit not_finished pause_turn repetition", "xAI, watsonx.ai and Anthropic references; vLLM docs"),
    ("length", "tool_calls function_call tool_use toolCalls", "OpenAI and Anthropic references: it would have gone on"),
    ("content_filter", "content_filter content_filtered", "OpenAI and Azure OpenAI references; Bedrock docs"),
    ("content_filter", "safety recitation blocklist prohibited_content spii language model_armor", "Gemini API"),
    ("content_filter", "image_safety image_prohibited_content", "Gemini API reference"),
    ("content_filter", "refusal guardrail_intervened", "Anthropic API reference; Bedrock docs"),
    ("content_filter", "sensitive error_toxic", "Z.ai and Cohere API references"),
    ("failed", "error", "Mistral API reference; OpenRouter docs, errors; vLLM docs; genkit#6259"),
    ("failed", "insufficient_system_resource", "DeepSeek API reference; qwen-code#9884"),
    ("failed", "abort aborted cancelled", "vLLM and SGLang, the request was dropped; watsonx.ai docs"),
    ("failed", "network_error", "Z.ai API reference"),
    ("failed", "malformed_function_call unexpected_tool_call", "Gemini API reference"),
    ("failed", "failed modelUnloaded unload", "LM Studio docs, stopReason; Ollama, done_reason"),
)
_ENDING_OF = {plain(word): ending for ending, words, _ in _ENDINGS for word in words.split()}
# FINISH_REASON_STOP is Vertex AI's, REASON_STOP xAI's.
_ENDING_PREFIX = re.compile(r"(?:finish_?)?reason_", re.I)


def ending(word: object) -> Ending | None:
    """What a server's word for why a text ends means; None for what no table row holds."""
    # SGLang's own protocol gives an object, with more beside its type.
    word = word.get("type") if isinstance(word, dict) else word
    if not isinstance(word, str):
        return None
    # Gemini's compatible endpoint adds its own word: "content_filter: RECITATION".
    return _ENDING_OF.get(plain(_ENDING_PREFIX.sub("", word.partition(":")[0].strip())))


# Where an answer counts its tokens, as a path from its top; "a + b" is a sum.
COUNTS: tuple[tuple[Literal["prompt", "completion", "total", "cached", "reasoning", "beside"], str, str], ...] = (
    ("prompt", "usage.prompt_tokens", "OpenAI chat, and nearly everyone"),
    ("prompt", "usage.input_tokens", "OpenAI Responses; Anthropic"),
    ("prompt", "usage.prompt_cache_hit_tokens + usage.prompt_cache_miss_tokens", "DeepSeek API reference"),
    ("prompt", "x_groq.usage.prompt_tokens", "Groq, at the end of a stream"),
    ("prompt", "choices.0.usage.prompt_tokens", "Moonshot, at the end of a stream"),
    ("prompt", "usageMetadata.promptTokenCount + usageMetadata.toolUsePromptTokenCount", "Gemini API reference"),
    ("prompt", "timings.cache_n + timings.prompt_n", "llama.cpp server README"),
    ("prompt", "prompt_eval_count", "Ollama API docs"),
    ("completion", "usage.completion_tokens", "OpenAI chat, and nearly everyone"),
    ("completion", "usage.output_tokens", "OpenAI Responses; Anthropic"),
    ("completion", "x_groq.usage.completion_tokens", "Groq, at the end of a stream"),
    ("completion", "choices.0.usage.completion_tokens", "Moonshot, at the end of a stream"),
    ("completion", "usageMetadata.candidatesTokenCount", "Gemini API reference"),
    ("completion", "timings.predicted_n", "llama.cpp server README"),
    ("completion", "eval_count", "Ollama API docs"),
    ("total", "usage.total_tokens", "OpenAI chat; beyond prompt and completion at xAI and Gemini: inspect_ai#5528"),
    ("total", "x_groq.usage.total_tokens", "Groq, at the end of a stream"),
    ("total", "choices.0.usage.total_tokens", "Moonshot, at the end of a stream"),
    ("total", "usageMetadata.totalTokenCount", "Gemini API reference"),
    ("cached", "usage.prompt_tokens_details.cached_tokens", "OpenAI, Azure, Groq, xAI, OpenRouter, vLLM, SGLang"),
    ("cached", "usage.input_tokens_details.cached_tokens", "OpenAI Responses"),
    ("cached", "usage.prompt_cache_hit_tokens", "DeepSeek API reference"),
    ("cached", "usage.cached_tokens", "Moonshot and Together AI docs"),
    ("cached", "usage.num_cached_tokens", "Mistral"),
    ("cached", "usage.cache_read_input_tokens", "Anthropic API reference"),
    ("cached", "x_groq.usage.prompt_tokens_details.cached_tokens", "Groq, at the end of a stream"),
    ("cached", "choices.0.usage.cached_tokens", "Moonshot, at the end of a stream"),
    ("cached", "usageMetadata.cachedContentTokenCount", "Gemini API reference"),
    ("cached", "timings.cache_n", "llama.cpp server README"),
    ("beside", "usage.cache_read_input_tokens + usage.cache_creation_input_tokens", "Anthropic: not in input_tokens"),
    ("reasoning", "usage.completion_tokens_details.reasoning_tokens", "OpenAI; xAI beside completion: vercel/ai#12425"),
    ("reasoning", "usage.output_tokens_details.reasoning_tokens", "OpenAI Responses"),
    ("reasoning", "usage.reasoning_tokens", "SGLang; Perplexity"),
    ("reasoning", "x_groq.usage.completion_tokens_details.reasoning_tokens", "Groq, at the end of a stream"),
    ("reasoning", "usageMetadata.thoughtsTokenCount", "Gemini API reference: never in candidatesTokenCount"),
)
# Where an answer says what it cost, in US dollars.
COSTS: tuple[tuple[str, str], ...] = (
    ("usage.cost", "OpenRouter docs, usage accounting"),
    ("usage.cost_details.upstream_inference_cost", "OpenRouter, by a key of one's own; `cost` is its fee then"),
    ("usage.cost.total_cost", "Perplexity API reference"),
    ("usage.estimated_cost", "DeepInfra docs"),
)

# Where an error hides: a key, and what stands there.
ERROR_KEYS: tuple[
    tuple[Literal["code", "message", "param", "wait", "inside", "headers", "filtered"], str, str], ...
] = (
    ("code", "code type status reason", "OpenAI, Azure, Groq, Mistral; numbers: vLLM, llama.cpp; Gemini"),
    ("code", "error_type statusCode quotaId", "OpenRouter's metadata; Azure API Management; google.rpc.QuotaFailure"),
    ("message", "message", "OpenAI, and nearly everyone; at the top of the body at Mistral, older vLLM and SGLang"),
    ("message", "error", "xAI, Ollama and LM Studio (lmstudio-bug-tracker#2322): a text"),
    ("message", "detail msg", "FastAPI and pydantic: a text, or a list of objects; Mistral puts it into its message"),
    ("message", "raw", "OpenRouter's metadata: the provider's own error, often JSON (zed#63188)"),
    ("message", "title error_description description", "RFC 9457; gateways; google.rpc.BadRequest"),
    ("param", "param loc field", "OpenAI; pydantic's place in the body; google.rpc.BadRequest"),
    ("inside", "errors details metadata innererror violations fieldViolations", "Gemini; OpenRouter; Azure"),
    ("wait", "retryDelay", "google.rpc.RetryInfo: smolagents#1134, crush#536"),
    ("wait", "retry_after retry_after_seconds retry_after_ms estimated_time", "gateways; Hugging Face, while it loads"),
    ("headers", "headers", "OpenRouter's metadata: X-RateLimit-Reset (openclaude#936)"),
    ("filtered", "flagged_input", "OpenRouter docs, moderation errors"),
)
ERROR_KEY = {plain(key): what for what, keys, _ in ERROR_KEYS for key in keys.split()}

# What an error's code or type says, whatever the status and the words; the first row that fits decides.
CODES: tuple[tuple[Verdict, str, str], ...] = (
    ("filtered", "content_?filter|content_policy|ResponsibleAIPolicy|data_inspection_failed", "OpenAI, Azure; Alibaba"),
    ("filtered", "moderation|flagged_input|safety_check", "OpenAI; OpenRouter; xAI"),
    ("context_length", "context_?(length|size|window)|exceed_context|prompt_too_long", "OpenAI; llama.cpp#15780"),
    ("quota", "insufficient_quota|exceeded_current_quota|billing", "OpenAI, Perplexity (with 401); Moonshot"),
    ("quota", "insufficient.?(balance|credit|fund)|payment_required|spend.?limit", "DeepSeek and its like; Groq"),
    ("rate_limit", "rate.?limit|too_?many_?requests|throttl|^(requests|tokens)$", "OpenAI, Groq, Mistral; Azure"),
    ("rate_limit", "^RESOURCE_EXHAUSTED$", "google.rpc.Code: a quota a minute or a day, and no empty account"),
    ("auth", "invalid_api_key|API_KEY_INVALID|authentication|UNAUTHENTICATED", "OpenAI; Gemini with 400"),
    ("missing", "model_?not_?(found|exist)|invalid_model|unknown_model|DeploymentNotFound", "OpenAI; Mistral; Azure"),
)
# What its words say, where no code does: verdict, statuses, words.
_ANY = frozenset(range(400, 600)) - {401, 402, 404, 429}
_REFUSED, _EMPTY = frozenset({400, 403, 422}), frozenset({400, 403, 429})
WORDS: tuple[tuple[Verdict, frozenset[int], str, str], ...] = (
    ("filtered", _REFUSED, "content management policy|violates? (our )?usage", "Azure; xAI"),
    ("filtered", _REFUSED, "(prompt|input|content|request) was flagged|inappropriate content", "OpenAI"),
    ("context_length", _ANY, r"(maximum|max|model'?s) context|context (length|size|window)", "OpenAI; vLLM"),
    ("context_length", _ANY, r"exceed\w*( the)? (available|maximum) context|n_ctx", "llama.cpp#15780"),
    ("context_length", _ANY, r"tokens to keep|keep the first \d+ tokens", "lmstudio-bug-tracker#237"),
    ("context_length", _ANY, r"maximum prompt length|(prompt|input) (is )?too (long|large)", "xAI; Anthropic"),
    ("context_length", _ANY, r"prompt contains \d+ tokens|exceeded model token limit", "Mistral; Moonshot"),
    ("context_length", _ANY, r"input token count.{0,40}exceeds|range of input length", "Gemini; Alibaba"),
    ("context_length", _ANY, r"inputs. tokens \+ .max_new_tokens", "text-generation-inference"),
    ("context_length", _ANY, r"input length.{0,40}exceed|context limit|too many tokens", "SGLang; Anthropic; Cohere"),
    ("context_length", _ANY, r"maximum (model|input|allowed).{0,7} (length|size)|max prompt tokens", "older vLLM"),
    ("auth", _REFUSED, r"(incorrect|invalid) api.?key|api.?key (is )?(not valid|invalid)", "xAI with 400"),
    ("quota", _EMPTY, r"exceeded your current quota|billing.{0,6}limit", "OpenAI"),
    ("quota", _EMPTY, r"insufficient.(balance|credit|fund)|out of credit|余额不足", "DeepSeek; Z.ai"),
    ("quota", _EMPTY, r"credit balance|(no|any|available|more) credits", "Anthropic; xAI; OpenRouter"),
    ("quota", _EMPTY, r"monthly (spending|usage) limit|check your billing|key limit exceeded", "xAI; OpenRouter"),
    ("missing", _REFUSED, r"model.{0,80}(not exist|not found|no longer)|not a valid model", "DeepSeek; OpenRouter"),
    ("rate_limit", _ANY, r"rate.?limit.{0,9}(exceeded|reached|hit)|too many requests", "gateways, with any status"),
)
# More than a limit lets through at once, however long one waits: Groq (413) and OpenAI (429), tokens a minute.
TOO_LARGE = re.compile(r"request too large|(tokens|message size).{0,20}must be reduced|reduce your message size", re.I)
# A quota in these words comes back: smolagents#1134.
PASSES = re.compile(r"per.?(second|minute|min|hour|day)\b|per(minute|day)|\b[rt]p[smd]\b|too many requests", re.I)
# What a code means where there is no status: an error in an answer with 200, or in the middle of a stream.
STATUS_OF_CODE: dict[str, int] = {
    plain(code): status
    for status, codes in (
        (400, "INVALID_ARGUMENT FAILED_PRECONDITION invalid_request_error BadRequestError"),
        (403, "PERMISSION_DENIED permission_error"),
        (404, "NOT_FOUND not_found_error NotFoundError"),
        (503, "UNAVAILABLE overloaded_error provider_unavailable"),
        (504, "DEADLINE_EXCEEDED timeout_error"),
    )
    for code in codes.split()
}

# What a refusal of a parameter sounds like.
REFUSALS: tuple[tuple[str, str], ...] = (
    (r"unsupported|not supported|(does not|doesn't|don't|do not) support", "OpenAI, Azure, Groq, xAI, LiteLLM"),
    (r"only (the )?(default|\S+ is (allowed|supported))", "OpenAI: only the default (1) value; Moonshot"),
    (r"unrecognized|unknown (name|field|parameter|argument)|unexpected|cannot find field", "OpenAI; Gemini; TGI"),
    (r"extra (inputs|fields)|not permitted|not allowed|additional propert", "pydantic: Mistral, vLLM; Groq"),
    (r"invalid param|not present in the model|deprecated", "Z.ai; Cloudflare; Anthropic"),
    (r"cannot both be|only one of", "Anthropic: temperature beside top_p"),
)
REFUSAL_CODES = {plain(code) for code in ("unsupported_parameter", "unsupported_value", "extra_forbidden")}
# A value that is refused is the recipe's, and says so: no reason to ask with another.
BAD_VALUE = re.compile(
    r"too large|(less|greater) than|must be (between|in|at|less|positive|a )|at most|out of range", re.I
)
# Ours -> theirs. The first that is named is left out, max_tokens renamed; top_p is worth less than temperature.
SPELLINGS: dict[str, str] = {
    "top_p": "top_?p",
    "top_k": "top_?k",
    "min_p": "min_?p",
    "repetition_penalty": "repetition_?penalty",
    "presence_penalty": "presence_?penalty",
    "frequency_penalty": "frequency_?penalty",
    "logit_bias": "logit_?bias",
    "temperature": "temperature",
    "seed": "(?:random_)?seed",
    "stop": "stop(?:_?sequences)?",
    "max_tokens": "max_?tokens",
    "logprobs": "(?:top_?)?log_?probs",
    "stream_options": "stream_?options",
}

# The limits that headers tell: {} is limit, remaining or reset. Of tokens nobody knows how many one request takes.
LIMIT_HEADERS: tuple[tuple[str, Literal["requests", "tokens"], str], ...] = (
    ("x-ratelimit-{}-requests", "requests", "OpenAI and Groq: 6m0s; Azure: seconds, -1 where it does not know"),
    ("x-ratelimit-{}-tokens", "tokens", "OpenAI, Groq, Azure"),
    ("x-ratelimit-{}-requests-day", "requests", "Cerebras docs: seconds"),
    ("x-ratelimit-{}-tokens-minute", "tokens", "Cerebras docs: seconds"),
    ("x-ratelimit-{}", "requests", "OpenRouter: milliseconds since 1970; gateways: seconds since 1970"),
    ("ratelimit-{}", "requests", "IETF draft: seconds"),
    ("ratelimitbysize-{}", "tokens", "Mistral: seconds"),
    ("anthropic-ratelimit-requests-{}", "requests", "Anthropic API reference: RFC 3339"),
    ("anthropic-ratelimit-tokens-{}", "tokens", "Anthropic API reference: RFC 3339"),
)
_LENGTH = r"\d+(?:\.\d+)?\s*(?:ms|milliseconds?|h|hours?|m|min|minutes?|s|secs?|seconds?|d|days?)(?![a-z])"
# "Please try again in 1m2.5s" (OpenAI, Groq), "Please retry in 47.4s" (Gemini), "retry after 26 seconds" (Azure),
# "try again after 1 seconds" (Moonshot), "wait 2 minutes".
WAIT_WORDS = re.compile(
    rf"(?:again|retry|wait|available|resets?)(?:[\s:-]+\w+){{0,4}}?[\s:-]+((?:{_LENGTH}[\s,and]*)+)", re.I
)

# A thinking model's fields beside its text, and content parts that are none of the text.
THOUGHT_FIELDS: tuple[tuple[str, str], ...] = (
    ("reasoning_content", "DeepSeek API reference; vLLM, SGLang, llama.cpp, LM Studio, xAI"),
    ("reasoning", "OpenRouter docs; Groq (parsed); Ollama; newer vLLM"),
    ("thinking", "Ollama API docs; Anthropic"),
    ("reasoning_details", "OpenRouter docs"),
    ("thinking_blocks", "LiteLLM docs"),
)
# Of a message's parts only these are text: Mistral's, Anthropic's and OpenRouter's thoughts come as parts too.
TEXT_PARTS = (None, "text", "output_text")
