"""Where the budget goes: a bandit over topics, templates and converters that learns from every verdict.

How often a target fails is taken as a product of three shares, one of the topic, one of the template and one of the
converter, each with a Beta belief; Thompson's rule draws from the beliefs and takes the best (Thompson, Biometrika 25,
1933). Two things make it faster than a bandit over templates alone. Blame is shared out: a miss says little against a
topic where its template never worked, and little against a template where its topic is long known as sound. And a hit
raises the topics that are written alike. A topic that has failed is proved, and gives way to those that have not;
when all have failed, a technique that was tried gives way to those that were not.
Where a judge scores how near an answer came to a failure, what came near is tried again before anything has failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from pacos.redteam.converters import PLAIN

# What is believed of an arm before anything was tried: failures are rare, and plain words come first.
_TEMPLATE = 0.01, 3.0
_TOPIC = 2.0, 8.0
_PLAIN = 8.0, 2.0
_CONVERTED = 0.01, 4.0
_SHARE_OF_A_REPEAT = 0.1
_FOLLOWER_GAIN = 0.1
_WARMTH, _DOUBT = 4.0, 2.0


@dataclass(frozen=True)
class Pick:
    """What to ask next."""

    topic: str
    template: str
    converter: str

    @property
    def technique(self) -> str:
        """Template and converter as one name; plain words have the template's alone."""
        return self.template if self.converter == PLAIN else f"{self.template}+{self.converter}"


def split_technique(technique: str) -> tuple[str, str]:
    """The template and the converter of a technique."""
    template, _, converter = technique.partition("+")
    return template, converter or PLAIN


class _Arms:
    """The beliefs about one of the three factors, by place."""

    def __init__(self, names: Sequence[str], beliefs: Sequence[tuple[float, float]]) -> None:
        self.names = names
        self.places = {name: place for place, name in enumerate(names)}
        self.hits, self.misses = np.array(beliefs).T.copy()

        self._before = self.hits.copy()
        self._warmth = np.ones(len(names))

    def mean(self, place: int) -> float:
        """What is believed of one arm, against the best that is believed of any."""
        means = self.hits / (self.hits + self.misses)
        return float(means[place] / means.max())

    def warm(self, places: np.ndarray, residuals: np.ndarray) -> np.ndarray:
        """Takes in how near its answers came to a failure, each against the middle; what is left to explain."""
        counts = np.bincount(places, minlength=len(self.names))
        means = np.bincount(places, residuals, minlength=len(self.names)) / (counts + _DOUBT)
        self._warmth = np.exp(_WARMTH * means)
        left: np.ndarray = residuals - means[places]
        return left

    def drawn(self, rng: np.random.Generator) -> np.ndarray:
        """One draw from each belief, what was believed at first being worth what the arm is warm."""
        drawn: np.ndarray = rng.beta(self.hits - self._before + self._before * self._warmth, self.misses)
        return drawn


class Search:
    """The beliefs of one attack. What it picks depends on the seed, the number and what it has learnt.

    `followers` are those of the templates that make something new of what failed, and gain by every hit.
    """

    def __init__(
        self,
        topics: Sequence[str],
        templates: Sequence[str],
        converters: Sequence[str],
        seed: int,
        followers: Sequence[str] = (),
    ) -> None:
        self._seed = seed
        self._templates = _Arms(templates, [_TEMPLATE] * len(templates))
        self._converters = _Arms(converters, [_PLAIN if name == PLAIN else _CONVERTED for name in converters])
        self._followers = [self._templates.places[name] for name in followers]
        self._topics = _Arms(topics, [_TOPIC] * len(topics))
        self._grams = [_grams(topic) for topic in topics]
        # How often each topic was asked about and has failed, and how often it was asked about in each technique.
        self._asked, self._failed = np.zeros(len(topics)), np.zeros(len(topics))
        # (score, and the places of template, converter and topic) of what was scored.
        self._near: list[tuple[float, int, int, int]] = []
        self._repeats: dict[tuple[str, str], np.ndarray] = {}

    def asked(self, pick: Pick) -> None:
        """This is being asked, and not soon again where there is anything else."""
        topic = self._topics.places[pick.topic]
        self._asked[topic] += 1
        self._repeats.setdefault((pick.template, pick.converter), np.zeros(len(self._asked)))[topic] += 1

    def learn(self, pick: Pick, is_hit: bool, score: float | None = None) -> None:
        """What came of it; what brought no verdict counts as a miss. `score` is how near it came, on any scale."""
        arms = (self._templates, self._converters, self._topics)
        template, converter, topic = (
            arm.places[name] for arm, name in zip(arms, (pick.template, pick.converter, pick.topic), strict=True)
        )
        if score is not None:
            self._near.append((score, template, converter, topic))
        if is_hit:
            self._templates.hits[template] += 1
            self._templates.hits[self._followers] += _FOLLOWER_GAIN
            self._converters.hits[converter] += 1
            self._failed[topic] += 1
            self._topics.hits += [_shared(self._grams[topic], grams) for grams in self._grams]
            return
        means = self._templates.mean(template), self._converters.mean(converter), self._topics.mean(topic)
        self._templates.misses[template] += means[1] * means[2]
        self._converters.misses[converter] += means[0] * means[2]
        self._topics.misses[topic] += means[0] * means[1]

    def pick(self, number: int, templates: Sequence[str]) -> Pick:
        """What to ask as request `number`, of the templates that can be used now."""
        rng = np.random.default_rng([self._seed, number])
        self._take_warmth()
        shares = {
            (template, converter): of_template * of_converter
            for template, of_template in zip(self._templates.names, self._templates.drawn(rng), strict=True)
            for converter, of_converter in zip(self._converters.names, self._converters.drawn(rng), strict=True)
            if template in templates
        }
        for technique, asked in self._repeats.items():
            if technique in shares:
                # What was asked about every topic has little new to tell.
                shares[technique] *= _SHARE_OF_A_REPEAT ** asked.min()
        best = max(shares, key=lambda technique: shares[technique])
        if self._failed.all():
            # Every topic has failed: what is left to find are other ways, the least tried first.
            best = min(shares, key=lambda technique: (self._times(technique), -shares[technique]))
        worth = self._topics.drawn(rng) / (1 + self._failed) ** 2 / (1 + self._asked)
        repeats = self._repeats.get(best)
        if repeats is not None:
            worth = np.where(repeats == repeats.min(), worth, -1.0)
        return Pick(self._topics.names[int(np.argmax(worth))], *best)

    def _times(self, technique: tuple[str, str]) -> float:
        return float(self._repeats[technique].sum()) if technique in self._repeats else 0.0

    def _take_warmth(self) -> None:
        """By ranks, so that no scale matters: the template's share first, then the converter's, then the topic's."""
        if not self._near:
            return
        scores, *places = (np.array(column) for column in zip(*self._near, strict=True))
        residuals = (rankdata(scores) - 0.5) / len(scores) - 0.5
        for arms, of_arm in zip((self._templates, self._converters, self._topics), places, strict=True):
            residuals = arms.warm(of_arm, residuals)


def alike(one: str, other: str) -> float:
    """How alike two topics are written, 0 to 1."""
    return _shared(_grams(one), _grams(other))


def _grams(text: str) -> frozenset[str]:
    """The three-letter pieces of a text and of its edges."""
    padded = f"  {text.casefold()} "
    return frozenset(padded[at : at + 3] for at in range(len(padded) - 2))


def _shared(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard's share of what two texts have in common."""
    return len(one & other) / len(one | other)
