"""The blocklist backend: plain requests and phrases, matched on words freed of their disguises. No safety system."""

import asyncio
import codecs
import re
import tomllib
from itertools import groupby
from pathlib import Path

from pacos.guard.moderation import ModerationResult
from pacos.guard.normalise import SENTENCE_END, Normaliser
from pacos.guard.patterns import compile_pattern, pattern_words

BLOCKLIST = Path(__file__).parent / "blocklist.toml"


class Blocklist:
    """Flags a text in which a pattern of the list occurs."""

    def __init__(self) -> None:
        table = tomllib.loads(BLOCKLIST.read_text(encoding="utf-8"))
        slurs = {name: [codecs.encode(word, "rot13") for word in words] for name, words in table["rot13"].items()}
        lists = table["lists"] | slurs
        patterns = [(category, pattern) for category, texts in table["patterns"].items() for pattern in texts]
        self._patterns = [compile_pattern(*pattern, lists, table["never_between"]) for pattern in patterns]
        self._vocabulary = {word for _, pattern in patterns for word in pattern_words(pattern, lists)}
        self._normaliser = Normaliser(self._vocabulary.union(table["never_between"]))
        self._other_senses = {word: frozenset(beside) for word, beside in table["other_senses"].items()}
        self._harmless = re.compile(rf"\b(?:{'|'.join(table['harmless'])}) ")

    async def check(self, text: str, prompt: str | None = None) -> ModerationResult:
        """Flags every category of which a pattern occurs; scores are 0 or 1, and a prompt changes nothing."""
        # In a thread: a long text must not hold up the other answers.
        return ModerationResult.of(dict.fromkeys(await asyncio.to_thread(self.matches, text), 1.0))

    async def close(self) -> None:
        """Holds nothing."""

    def matches(self, text: str) -> dict[str, str]:
        """Category -> the words that matched, for a reviewer to see why."""
        words = self._without_other_senses(self._normaliser.words(text))
        known = self._vocabulary.intersection(words)
        found: dict[str, str] = {}
        normalised = ""
        for pattern in self._patterns:
            if pattern.category in found or pattern.lacks(known):
                continue
            if not normalised:
                # "_" keeps the phrase's place: what stood on its two sides does not become neighbours.
                normalised = self._harmless.sub("_ ", " ".join([SENTENCE_END, *words, SENTENCE_END, ""]))
            if match := pattern.regex.search(normalised):
                found[pattern.category] = match[0].strip()
        return found

    def _without_other_senses(self, words: list[str]) -> list[str]:
        """A word is dropped where another of its sentence says that it means something else."""
        if self._other_senses.keys().isdisjoint(words):
            return words
        kept: list[str] = []
        for is_end, group in groupby(words, key=SENTENCE_END.__eq__):
            sentence = list(group)
            beside = frozenset(sentence)
            other = {word for word, told_by in self._other_senses.items() if told_by & beside}
            kept += sentence if is_end else ["_" if word in other else word for word in sentence]
        return kept
