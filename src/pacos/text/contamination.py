"""Contamination: does an example give away a question of an evaluation set?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pacos.core.records import Example, read_instructions
from pacos.text.novelty import Novelty
from pacos.text.tokens import WORD, tenths_of_words, unicode_tokens

# The run of words that two texts hardly ever share by chance; the length GPT-3's authors looked for. Characters of a
# script without spaces count for the part of a word that they are: thirteen of them are a phrase.
RUN_WORDS = 13
# Questions with more ROUGE-L than this are one question.
NEAR = 0.7
# What so many questions share is how they are put, unless it is as long as a text they all ask about.
MOST_QUESTIONS, PASSAGE_WORDS = 2, 39


@dataclass(frozen=True, slots=True)
class Match:
    """What an example is too near to: the evaluation file, the question, and how.

    `kind` is "near" (ROUGE-L `score` of the two questions) or "overlap" (a shared run of words; `score` is 1).
    """

    file: str
    question: str
    kind: Literal["near", "overlap"]
    score: float


class Contamination:
    """Questions of evaluation sets, and what gives one of them away.

    A question is an instruction with its input. An example matches where its own question's ROUGE-L to one of them
    is above NEAR, or where it holds, in any of its fields, 13 words of one in a row; of what three questions
    share, 39. Words are those of `unicode_tokens`, so that every script counts; in scripts without spaces 13 words are
    22 ideographs, 33 kana or 65 letters of Thai or Khmer.
    """

    def __init__(self) -> None:
        self._questions = Novelty(NEAR, unicode_tokens)
        self._file_of: dict[str, str] = {}
        self._runs: dict[tuple[str, ...], str] = {}
        # The other questions that hold a run, for those that more than one holds.
        self._others: dict[tuple[str, ...], list[str]] = {}

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Self:
        """The questions of these files; PacosError names the file and record that cannot be read."""
        contamination = cls()
        for path in paths:
            for example in read_instructions(path):
                contamination.add(example, str(path))
        return contamination

    def __len__(self) -> int:
        return len(self._file_of)

    def add(self, question: Example, file: str) -> None:
        """Guards one more question; repeated ones count once."""
        text = _question(question)
        if text in self._file_of:
            return
        self._file_of[text] = file
        self._questions.add(text)
        for run in {run for run, _ in _runs(text)}:
            if self._runs.setdefault(run, text) is not text:
                self._others.setdefault(run, []).append(text)

    def find(self, example: Example) -> Match | None:
        """The question that the example gives away, or None."""
        if not self._file_of:
            return None
        score, question = self._questions.nearest(_question(example))
        if question is not None and score > NEAR:
            return Match(self._file_of[question], question, "near", score)
        for holders in self._overlaps(example):
            return Match(self._file_of[holders[0]], holders[0], "overlap", 1.0)
        return None

    def overlapping(self, example: Example) -> set[str]:
        """Every question that shares a run of words with the example."""
        return {question for holders in self._overlaps(example) for question in holders}

    def _overlaps(self, example: Example) -> Iterator[list[str]]:
        """The questions that hold a run of the example's words, run by run."""
        for text in (_question(example), example.output):
            tenths = RUN_WORDS * WORD
            for run, first in _runs(text):
                if (shared := self._runs.get(run)) is None:
                    tenths = RUN_WORDS * WORD
                    continue
                holders = [shared, *self._others.get(run, ())]
                if len(holders) <= MOST_QUESTIONS or tenths >= PASSAGE_WORDS * WORD:
                    yield holders
                tenths += first


def _question(example: Example) -> str:
    return f"{example.instruction}\n{example.input}".strip()


def _runs(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every shortest run of 13 words, each with what its first token counts for in tenths of a word."""
    tokens = unicode_tokens(text)
    if text.isascii():
        for at in range(len(tokens) - RUN_WORDS + 1):
            yield tuple(tokens[at : at + RUN_WORDS]), WORD
        return
    tenths = tenths_of_words(tokens)
    end = held = 0
    for at, first in enumerate(tenths):
        while held < RUN_WORDS * WORD:
            if end == len(tokens):
                return
            held += tenths[end]
            end += 1
        yield tuple(tokens[at:end]), first
        held -= first
