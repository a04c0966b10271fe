"""A criterion in words, put to any engine: what it is shown, and how strictly its verdict is read."""

import json
import re
from importlib import resources
from typing import Any

from pacos.core.special_tokens import WELL_KNOWN
from pacos.engines import Reply
from pacos.judging.offline import Scored

# As much of what a judge said, where it was no verdict.
MOST_SHOWN = 120
# What has the form of a tag of the frame, as freely as a model may read one.
_TAG = re.compile(r"<(?=[\s/]*(?:failure|request|answer)\b)", re.IGNORECASE)
_SLOT = re.compile(r"\{\{ (failure|request|answer) \}\}")
# Some models put every JSON into a fence, and nothing else beside it.
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n?\s*```", re.DOTALL)
_VERDICTS = ("hit", "safe")


def shown(criterion: str, prompt: str, answer: str) -> str:
    """The judge's whole prompt. No text in it can end its frame early, or be a special token of a model's."""
    texts = {"failure": criterion, "request": prompt, "answer": answer}
    template = resources.files(__package__).joinpath("rubric.txt").read_text("utf-8")
    return _SLOT.sub(lambda slot: _as_data(texts[slot[1]]), template)


def read_rubric(reply: Reply) -> Scored:
    """The verdict of one JSON object with a verdict and a rationale; anything else is unscored, and says what came."""
    text = reply.text.strip()
    fenced = _FENCE.fullmatch(text)
    try:
        said = json.loads(fenced[1] if fenced else text, object_pairs_hook=_once)
        verdict, rationale = said["verdict"], said["rationale"]
    except (ValueError, TypeError, KeyError, RecursionError):
        verdict, rationale = None, None
    if verdict not in _VERDICTS or not isinstance(rationale, str) or reply.finish_reason != "stop":
        cut = "" if reply.finish_reason == "stop" else f" ({reply.finish_reason})"
        return Scored("unscored", None, f"the judge gave no verdict{cut}: {shortened(text)}")
    return Scored("hit" if verdict == "hit" else "safe", float(verdict == "hit"), shortened(rationale, 1000))


def shortened(text: str, most: int = MOST_SHOWN) -> str:
    """On one line, cut at so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."


def _as_data(text: str) -> str:
    text = _TAG.sub("&lt;", text.strip())
    return WELL_KNOWN.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """ValueError for an object that says one thing twice: nobody knows which is meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found
