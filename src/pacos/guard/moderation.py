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
    """One of the `results` of OpenAI's POST /v1/moderations; `dataclasses.asdict` gives its JSON."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    """From 0 to 1; a backend that only knows yes and no says 0 or 1."""

    @classmethod
    def of(cls, category_scores: dict[str, float], threshold: float = 0.5) -> "ModerationResult":
        """A result of the categories named, the others at 0; one at `threshold` or above flags the text."""
        scores = {category: category_scores.get(category, 0.0) for category in CATEGORIES}
        categories = {category: score >= threshold for category, score in scores.items()}
        return cls(any(categories.values()), categories, scores)


class Moderator(Protocol):
    """Whatever judges one text at a time."""

    def check(self, text: str) -> ModerationResult:
        """Judges a user's prompt or a model's answer."""
        ...
