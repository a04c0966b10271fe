"""What a request may ask of the local engine: anything else is refused before it has a row among others."""

import math

from pacos.engines.types import Request

# Each is a text of its own: a thousand, of a long prompt, would be gigabytes.
MOST_LIKELY_TOLD = 100
# A penalty beyond these makes infinities of ordinary logits.
BOUNDS: dict[str, tuple[float, float]] = {
    "max_tokens": (0, math.inf),
    "temperature": (0, 1e6),
    "top_p": (0, 1),
    "top_k": (0, math.inf),
    "min_p": (0, 1),
    "repetition_penalty": (0.01, 100),
    "presence_penalty": (-1e6, 1e6),
    "frequency_penalty": (-1e6, 1e6),
}


def refusal(request: Request) -> str | None:
    """Why a request cannot be taken, whatever the checkpoint; None where it can."""
    for name, (least, most) in BOUNDS.items():
        value = getattr(request.sampling, name)
        # Not a number is neither.
        if not least <= value <= most:
            expected = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
            return f"{name} is {value}; expected {expected}."
    if request.logprobs is not None and not 0 <= request.logprobs <= MOST_LIKELY_TOLD:
        return f"logprobs is {request.logprobs}; expected 0 to {MOST_LIKELY_TOLD} of the likeliest tokens."
    if not all(isinstance(text, str) for text in request.sampling.stop):
        return f"stop is {str(request.sampling.stop)[:80]}; expected texts."
    return None


def told(error: BaseException) -> str:
    """An error of other people's code, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
