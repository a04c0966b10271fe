"""Figures of a data set for its report: verbs and objects, lengths, similarity, yield."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pacos.core.records import Example
from pacos.generate.pool import Kept

# Words that may stand between a verb and the noun it acts on.
_SKIPPED = frozenset(
    re.findall(
        r"\w+",
        """a an the this that these those following given below above one two three four five some any all each every
        me us you him her them it its my our your his their of for to in into from with about on at by as if or and
        not no more most new different own good short long brief simple single list""",
    )
)
_POLITE = re.compile(r"^(?:please|kindly|can you|could you|would you|you are asked to)[,\s]+", re.I)
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_QUESTION = frozenset(re.findall(r"\w+", "what which who whom whose where when why how is are was were do does did"))


def verb_and_object(instruction: str) -> tuple[str, str] | None:
    """The instruction's first word and the first content word after it, such as ("write", "poem").

    A rule of thumb that stands in for a parser: it takes commands at their word, and gives None for questions
    and for instructions that do not begin with a word.
    """
    words = [word.lower() for word in _WORD.findall(_POLITE.sub("", instruction.strip()))[:12]]
    if not words or words[0] in _QUESTION or words[0] in _SKIPPED:
        return None
    object_ = next((word for word in words[1:] if word not in _SKIPPED), None)
    return (words[0], object_) if object_ else None


def diversity(examples: Iterable[Example], num_verbs: int = 20, num_objects: int = 4) -> dict[str, Any]:
    """The most frequent verbs with their most frequent objects, as in figure 2 of Self-Instruct."""
    pairs: Counter[tuple[str, str]] = Counter()
    questions = total = 0
    for example in examples:
        total += 1
        first = _WORD.match(example.instruction.strip())
        questions += bool(first and first[0].lower() in _QUESTION)
        if pair := verb_and_object(example.instruction):
            pairs[pair] += 1
    verbs: Counter[str] = Counter()
    for (verb, _), count in pairs.items():
        verbs[verb] += count
    top = [
        {"verb": verb, "count": count, "objects": _top_objects(pairs, verb, num_objects)}
        for verb, count in verbs.most_common(num_verbs)
    ]
    return {
        "instructions": total,
        "questions": questions,
        "with_verb_and_object": pairs.total(),
        "distinct_verbs": len(verbs),
        "distinct_pairs": len(pairs),
        "verbs": top,
    }


def _top_objects(pairs: Counter[tuple[str, str]], verb: str, number: int) -> list[dict[str, Any]]:
    of_verb = Counter({object_: count for (v, object_), count in pairs.items() if v == verb})
    return [{"object": object_, "count": count} for object_, count in of_verb.most_common(number)]


def lengths(examples: Sequence[Example]) -> dict[str, Any]:
    """For each field: mean, median, 95th percentile and longest in words, and a histogram (empty inputs left out)."""
    fields = {
        "instruction": [len(e.instruction.split()) for e in examples],
        "input": [len(e.input.split()) for e in examples if e.input],
        "output": [len(e.output.split()) for e in examples],
    }
    return {name: _summary(values) for name, values in fields.items()}


def _summary(values: list[int]) -> dict[str, Any]:
    if not values:
        return {"count": 0}
    counts, edges = np.histogram(values, bins=min(30, max(values) + 1))
    return {
        "count": len(values),
        "mean": round(float(np.mean(values)), 2),
        "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)),
        "max": max(values),
        "histogram": {"edges": [round(float(edge), 2) for edge in edges], "counts": counts.tolist()},
    }


def similarities(kept: Sequence[Kept]) -> dict[str, Any]:
    """Histograms over 0 to 1 of ROUGE-L to the nearest text so far, and to the nearest seed task."""
    edges = np.linspace(0, 1, 21)
    values = {"nearest": [k.similarity for k in kept], "nearest_seed": [k.seed_similarity for k in kept]}
    return {
        "edges": [round(float(edge), 2) for edge in edges],
        **{name: np.histogram(scores, edges)[0].tolist() for name, scores in values.items()},
    }


def yield_over_time(kept_after_reply: Sequence[int], num_points: int = 100) -> list[list[int]]:
    """[replies judged, examples kept] at up to `num_points` moments, the last one included."""
    total = len(kept_after_reply)
    moments = sorted({round((point + 1) * total / num_points) for point in range(num_points)} - {0}) if total else []
    return [[moment, kept_after_reply[moment - 1]] for moment in moments]
