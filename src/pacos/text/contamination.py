"""Contamination: does an example give away a question of an evaluation set?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pacos.core.records import Example, read_instructions
from pacos.text.novelty import Novelty
from pacos.text.tokens import unicode_tokens

# The run of words that two texts hardly ever share by chance; the length GPT-3's authors looked for.
RUN_TOKENS = 13


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
    is above `threshold`, or where it holds, in any of its fields, 13 words of one in a row. Words are those of
    `unicode_tokens`, so that every script counts.
    """

    def __init__(self, threshold: float = 0.7) -> None:
        self._questions = Novelty(threshold, unicode_tokens)
        self._file_of: dict[str, str] = {}
        self._runs: dict[tuple[str, ...], str] = {}

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
        for run in _runs(text):
            self._runs.setdefault(run, text)

    def find(self, example: Example) -> Match | None:
        """The question that the example gives away, or None."""
        if not self._file_of:
            return None
        score, question = self._questions.nearest(_question(example))
        if question is not None and score > self._questions.threshold:
            return Match(self._file_of[question], question, "near", score)
        for text in (_question(example), example.output):
            for run in _runs(text):
                if (shared := self._runs.get(run)) is not None:
                    return Match(self._file_of[shared], shared, "overlap", 1.0)
        return None


def _question(example: Example) -> str:
    return f"{example.instruction}\n{example.input}".strip()


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    tokens = unicode_tokens(text)
    return (tuple(tokens[at : at + RUN_TOKENS]) for at in range(len(tokens) - RUN_TOKENS + 1))
