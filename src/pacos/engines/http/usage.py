"""What an answer counts and costs, in any dialect; of two readings the one that costs more."""

import math
import re
from typing import Any

from pacos.engines.http.body import prompt_text
from pacos.engines.http.dialects import COSTS, COUNTS
from pacos.engines.types import Request, Usage

# No model reads or writes so many at once; a count beyond is none.
_MOST_TOKENS = 2**24
# Without a usage count in the reply, money is counted at about three bytes a token: rather too much than nothing.
_BYTES_PER_TOKEN = 3


def usage_of(answer: dict[str, Any], request: Request, written: str) -> Usage:
    """The answer's counts; `written` is all that the model wrote, thoughts too.

    Each count that it does not send, or cannot have counted, is estimated from the texts.
    """
    counts: dict[str, list[int]] = {}
    for what, paths, _ in COUNTS:
        found = [count for path in paths.split(" + ") if (count := _whole(_at(answer, path))) is not None]
        if found:
            counts.setdefault(what, []).append(sum(found))
    most = {what: max(values) for what, values in counts.items()}
    prompt, completion = most.get("prompt", 0), most.get("completion", 0)
    total, reasoning, beside = most.get("total", 0), most.get("reasoning", 0), most.get("beside", 0)
    estimate = len(written.encode("utf-8", "replace")) // _BYTES_PER_TOKEN
    if not prompt:
        by_total = total - completion if completion else 0
        prompt = max(by_total, len(prompt_text(request).encode()) // _BYTES_PER_TOKEN)
    elif not total:
        prompt += beside
    # Inside of the completion at OpenAI, beside it at xAI and Gemini; the total tells, and where there is none the
    # larger reading counts.
    thought = reasoning if reasoning > completion or not total else 0
    completion = max(completion + thought, total - prompt) or estimate
    cached = min(counts.get("cached", [0]))
    return Usage(prompt, completion, cached if cached <= prompt else 0)


def said_usd(answer: dict[str, Any]) -> float:
    """What the server says that the answer cost; 0 where it says nothing that can be a price."""
    costs = {path: _dollars(_at(answer, path)) for path, _ in COSTS}
    upstream = costs.pop("usage.cost_details.upstream_inference_cost")
    # With a key of one's own the provider is paid beside the gateway.
    is_own_key = bool(_at(answer, "usage.is_byok"))
    return max(*costs.values(), upstream + costs["usage.cost"] if is_own_key else 0.0)


def _at(value: Any, path: str) -> Any:
    for key in path.split("."):
        if isinstance(value, list):
            value = value[0] if value and key == "0" else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def _whole(count: Any) -> int | None:
    """The count, or None for what no server can have counted."""
    if isinstance(count, float) and count.is_integer():
        count = int(count)
    if not isinstance(count, int) or isinstance(count, bool):
        return None
    return count if 0 <= count <= _MOST_TOKENS else None


def _dollars(cost: Any) -> float:
    if isinstance(cost, str) and re.fullmatch(r"\d+(\.\d+)?", cost):
        cost = float(cost)
    if not isinstance(cost, (int, float)) or isinstance(cost, bool) or not math.isfinite(cost):
        return 0.0
    return max(0.0, float(cost))
