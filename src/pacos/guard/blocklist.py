"""The blocklist backend: plain requests and phrases, matched on words freed of their disguises. No safety system."""

import codecs
import re
import tomllib
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import read_text
from pacos.guard.normalise import SENTENCE_END, Normaliser
from pacos.guard.patterns import compile_pattern, pattern_words
from pacos.guard.types import CATEGORIES, ModerationResult

BLOCKLIST = Path(__file__).parent / "blocklist.toml"


class Blocklist:
    """Flags a text in which a pattern of the list occurs. `path` may be another list of the same form.

    Raises PacosError where the file is not such a list.
    """

    def __init__(self, path: Path = BLOCKLIST) -> None:
        try:
            table = tomllib.loads(read_text(path, "blocklist"))
        except tomllib.TOMLDecodeError as error:
            raise PacosError(f"{path}: not TOML ({error}); the blocklist must be TOML.") from None
        lists, rot13 = table.get("lists", {}), table.get("rot13", {})
        lists |= {name: [codecs.encode(word, "rot13") for word in words] for name, words in rot13.items()}
        patterns = [(category, text) for category, texts in table.get("patterns", {}).items() for text in texts]
        if unknown := {category for category, _ in patterns}.difference(CATEGORIES):
            raise PacosError(f"{path}: unknown category {min(unknown)!r}; expected one of {', '.join(CATEGORIES)}.")
        never_between = table.get("never_between", [])
        self._patterns = [compile_pattern(category, text, lists, never_between) for category, text in patterns]
        self._vocabulary = {word for _, text in patterns for word in pattern_words(text, lists)}
        self._normaliser = Normaliser(self._vocabulary)
        harmless = "|".join(map(re.escape, table.get("harmless", [])))
        self._harmless = re.compile(rf"\b(?:{harmless or '(?!)'}) ")

    def check(self, text: str) -> ModerationResult:
        """Flags every category of which a pattern occurs; scores are 0 or 1."""
        return ModerationResult.of(dict.fromkeys(self.matches(text), 1.0))

    def matches(self, text: str) -> dict[str, str]:
        """Category -> the words that matched, for a reviewer to see why."""
        words = self._normaliser.words(text)
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
