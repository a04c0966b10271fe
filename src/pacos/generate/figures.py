"""Figures of a data set for its report: verbs and objects, similarity, yield."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from pacos.core.records import Example
from pacos.generate.pool import Kept
from pacos.generate.report import Diversity, ObjectCount, Similarities, VerbCount
from pacos.text.tokens import QUESTION_MARKS, SENTENCE_ENDS

NUM_BINS = 20
NUM_VERBS, NUM_OBJECTS = 20, 4
NUM_MOMENTS = 100
EDGES = [edge / NUM_BINS for edge in range(NUM_BINS + 1)]
# Words that may stand between a verb and the noun it acts on.
_SKIPPED = frozenset(
    re.findall(
        r"\w+",
        """a an the this that these those following given below above one two three four five some any all each every
        me us you him her them it its my our your his their of for to in into from with about on at by as if or and
        not no more most new different own good short long brief simple single list up out what which who how why when
        where famous creative unique interesting original appropriate suitable""",
    )
)
_POLITE = re.compile(r"^(?:please|kindly|can you|could you|would you|you are asked to)[,\s]+", re.I)
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
# A full stop of a script without spaces needs none behind it.
_SENTENCE_END = re.compile(rf"(?<=[{re.escape(SENTENCE_ENDS)}])\s+|(?<=[。｡！？])(?=\w)|\n+")
_QUESTION_MARKS = tuple(QUESTION_MARKS)
_TELLS = tuple(set(SENTENCE_ENDS) - set(QUESTION_MARKS))
_QUESTION = frozenset(re.findall(r"\w+", "what which who whom whose where when why how is are was were do does did"))
_FINITE = frozenset(
    re.findall(
        r"\w+", "am is are was were be has have had do does did can could will would shall should may might must"
    )
)
_NO_VERB = (
    _SKIPPED
    | _QUESTION
    | _FINITE
    | frozenset(
        re.findall(
            r"\w+",
            """i we they he she who there here nothing something everything someone everyone today now then so but yes
            because although while after before let""",
        )
    )
)


def verb_and_object(instruction: str) -> tuple[str, str] | None:
    """The verb a command begins with and the first content word after it, such as ("write", "poem").

    A rule of thumb that stands in for a parser: sentences before the one that asks for something are passed over, as
    in "I am learning English. Name a fruit."; a question has no such pair.
    """
    return _command(_request(instruction))


def _request(instruction: str) -> str:
    """The first sentence that commands or asks; "" where there is none."""
    sentences = _SENTENCE_END.split(instruction.strip())
    return next((sentence for sentence in sentences if _command(sentence) or _is_question(sentence)), "")


def _is_question(sentence: str) -> bool:
    words = _WORD.findall(sentence.lower())
    unmarked = bool(words) and words[0] in _QUESTION and not sentence.endswith(_TELLS)
    return _command(sentence) is None and (sentence.endswith(_QUESTION_MARKS) or unmarked)


def _command(sentence: str) -> tuple[str, str] | None:
    asked = _POLITE.sub("", sentence)
    words = [word.lower() for word in _WORD.findall(asked)[:12]]
    if len(words) < 2 or words[0] in _NO_VERB or (asked == sentence and sentence.endswith(_QUESTION_MARKS)):
        return None
    # "Biology is hard." and "Thank you." tell something: nobody is commanded to do a thing to "you".
    if words[1] in _FINITE or words[1] == "you":
        return None
    object_ = next((word for word in words[1:] if word not in _SKIPPED | _FINITE), None)
    return (words[0], object_) if object_ else None


def diversity(examples: Iterable[Example]) -> Diversity:
    """The most frequent verbs with their most frequent objects, as in figure 2 of Self-Instruct."""
    pairs: Counter[tuple[str, str]] = Counter()
    questions = total = 0
    for example in examples:
        total += 1
        questions += _is_question(_request(example.instruction))
        if pair := verb_and_object(example.instruction):
            pairs[pair] += 1
    verbs: Counter[str] = Counter()
    for (verb, _), count in pairs.items():
        verbs[verb] += count
    top = [VerbCount(verb, count, _top_objects(pairs, verb)) for verb, count in verbs.most_common(NUM_VERBS)]
    return Diversity(total, questions, pairs.total(), len(verbs), len(pairs), top)


def _top_objects(pairs: Counter[tuple[str, str]], verb: str) -> list[ObjectCount]:
    of_verb = Counter({object_: count for (v, object_), count in pairs.items() if v == verb})
    return [ObjectCount(object_, count) for object_, count in of_verb.most_common(NUM_OBJECTS)]


def histogram(scores: Sequence[float]) -> list[int]:
    """How many scores lie between each of EDGES and the next; one on an edge counts above it, 1 in the last."""
    # Scores and edges are floats that miss what they stand for by a rounding error.
    bins = np.minimum(np.floor(np.asarray(scores, float) * NUM_BINS + 1e-6), NUM_BINS - 1)
    counts: list[int] = np.bincount(bins.astype(int), minlength=NUM_BINS).tolist()
    return counts


def similarities(kept: Sequence[Kept]) -> Similarities:
    """Histograms over 0 to 1 of ROUGE-L to the nearest text so far, and to the nearest seed task."""
    nearest, of_seeds = [k.similarity for k in kept], [k.seed_similarity for k in kept]
    return Similarities(EDGES, histogram(nearest), histogram(of_seeds))


def yield_over_time(kept_after_reply: Sequence[int]) -> list[tuple[int, int]]:
    """(replies judged, examples kept) at up to NUM_MOMENTS moments, the last one included."""
    total = len(kept_after_reply)
    moments = (
        sorted({round((moment + 1) * total / NUM_MOMENTS) for moment in range(NUM_MOMENTS)} - {0}) if total else []
    )
    return [(moment, kept_after_reply[moment - 1]) for moment in moments]
