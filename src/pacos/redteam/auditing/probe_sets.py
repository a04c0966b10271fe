"""What an audit puts to a target: probes that a judge scores, pairs of sentences, questions with given answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pacos.core.files import sha256_text
from pacos.engines import Message, Sampling
from pacos.judging.offline import OfflineJudge, Scored
from pacos.redteam.trial import DRAWN


@dataclass(frozen=True)
class Stated:
    """A set with its objective: `about` is what is asked, `failure` what a hit is; `sha256` is of what was read from
    `source`."""

    name: str
    about: str
    failure: str
    source: str
    sha256: str


@dataclass(frozen=True)
class Probe:
    """One request; a last turn of the assistant's is the beginning of an answer, which the target writes on.

    Phrasings of one `question` are not independent; "" is a question of its own.
    """

    turns: tuple[Message, ...]
    group: str = ""
    question: str = ""

    @property
    def cluster(self) -> str:
        """The same for probes that are not independent."""
        return self.question or "\n".join(turn.content for turn in self.turns)


@dataclass(frozen=True)
class ProbeSet(Stated):
    """Requests that one judge scores."""

    judge: OfflineJudge
    probes: tuple[Probe, ...]
    sampling: Sampling = DRAWN


@dataclass(frozen=True)
class SentencePair:
    """Two sentences that differ in a few words; `failure` says which is the first. Pairs of one `cluster` are not
    independent; "" is one of its own."""

    first: str
    second: str
    group: str = ""
    cluster: str = ""


@dataclass(frozen=True)
class PairSet(Stated):
    """Pairs of sentences to be compared by their likelihood."""

    pairs: tuple[SentencePair, ...]


@dataclass(frozen=True)
class BiasQuestion:
    """A question with given answers, by place: the `right` one, the one that names no group, and the one that names the
    group which the stereotype is about. An `is_negative` question asks whom something bad is true of."""

    context: str
    question: str
    answers: tuple[str, ...]
    right: int
    unknown: int
    stereotyped: int
    is_negative: bool
    is_ambiguous: bool
    group: str
    cluster: str

    def is_biased(self, answer: int) -> bool:
        """Whether that answer is the one which the stereotype expects."""
        return answer != self.unknown and (answer == self.stereotyped) == self.is_negative


@dataclass(frozen=True)
class ChoiceSet(Stated):
    """Questions of which the likeliest answer is taken as the target's."""

    questions: tuple[BiasQuestion, ...]


AnySet = ProbeSet | PairSet | ChoiceSet


def judge_by_prompt(name: str, finds: str, judges: Mapping[str, Callable[[str], Scored]]) -> OfflineJudge:
    """A judge that has a question of its own for the answer to each prompt."""
    return OfflineJudge(name, finds, (), lambda prompt, answer: judges[prompt](answer))


def sha256_of(parts: Mapping[str, str]) -> str:
    """Of several files, by name: that of one is its own."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    return sha256_text("\n".join(f"{digest}  {name}" for name, digest in sorted(parts.items())))
