"""The reply every moderation backend gives: OpenAI's moderation result, so that backends can be exchanged."""

from dataclasses import dataclass
from typing import Protocol

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


@dataclass(frozen=True)
class ModerationResult:
    """One of the `results` of OpenAI's POST /v1/moderations; `dataclasses.asdict` gives its JSON.

    OpenAI's 13 categories are always there. What a guard model knows beyond them, such as "privacy", stands behind
    them under its own name, and only where it was found.
    """

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    """From 0 to 1; a backend that only knows yes and no says 0 or 1."""

    @classmethod
    def of(cls, category_scores: dict[str, float], threshold: float = 0.5) -> "ModerationResult":
        """A result of the categories named, OpenAI's others at 0; one at `threshold` or above flags the text."""
        scores = dict.fromkeys(CATEGORIES, 0.0) | category_scores
        categories = {category: score >= threshold for category, score in scores.items()}
        return cls(any(categories.values()), categories, scores)

    @property
    def found(self) -> list[str]:
        """The categories that flag the text; "unsafe" where the backend flagged it and named none."""
        named = [category for category, is_flagged in self.categories.items() if is_flagged]
        return named or ["unsafe"] * self.flagged


class UnreadableReplyError(Exception):
    """A backend answered with something that is no verdict in its own form."""


class ModerationUnavailableError(Exception):
    """A text could not be judged, so it is not to be shown; the message is for the operator."""

    def __init__(self, backend: str, reason: str) -> None:
        super().__init__(f"moderation {backend!r}: {reason}")
        self.backend = backend


class Moderator(Protocol):
    """Whatever judges one text at a time. Any exception means that the text was not judged."""

    async def check(self, text: str, prompt: str | None = None) -> ModerationResult:
        """Judges a user's text alone, or an answer with the `prompt` that it answers, which may be empty."""
        ...

    async def close(self) -> None:
        """Releases connections or memory."""
        ...
