"""A choice's log-probabilities in the two forms of the protocol."""

from typing import Any

from pacos.engines.types import TokenLogprob

NO_ID = -1
"""Servers tell tokens' texts, and no ids."""


def token_logprobs(told: Any) -> tuple[TokenLogprob, ...]:
    """The written tokens, of a chat's `content` list or of legacy completions' parallel lists; () where there are none.

    What is no number is left out, so that a server with habits of its own costs a weight and no reply.
    """
    if not isinstance(told, dict):
        return ()
    if isinstance(content := told.get("content"), list):
        entries = [entry for entry in content if isinstance(entry, dict)]
        return tuple(
            TokenLogprob(NO_ID, str(entry.get("token", "")), _number(entry.get("logprob")), _of_list(entry))
            for entry in entries
        )
    tokens, own, top = (
        value if isinstance(value := told.get(key), list) else []
        for key in ("tokens", "token_logprobs", "top_logprobs")
    )
    own, top = own + [None] * len(tokens), top + [None] * len(tokens)
    return tuple(
        TokenLogprob(
            NO_ID, str(token), _number(number), _best_first(likely.items() if isinstance(likely, dict) else ())
        )
        for token, number, likely in zip(tokens, own, top, strict=False)
    )


def _of_list(entry: dict[str, Any]) -> tuple[tuple[int, str, float], ...]:
    likely = entry.get("top_logprobs")
    each = [one for one in likely if isinstance(one, dict)] if isinstance(likely, list) else []
    return _best_first((str(one.get("token", "")), one.get("logprob")) for one in each)


def _best_first(pairs: Any) -> tuple[tuple[int, str, float], ...]:
    numbers = [(str(text), number) for text, value in pairs if (number := _number(value)) is not None]
    return tuple((NO_ID, text, number) for text, number in sorted(numbers, key=lambda pair: -pair[1]))


def _number(value: Any) -> float | None:
    # A log-probability is at most 0; rounding may say a little more.
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0.01 else None
