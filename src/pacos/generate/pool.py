"""The pool: replies go in, in the order of their requests; kept and rejected examples come out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pacos.core.records import Example, SeedTask
from pacos.engines import Reply
from pacos.generate.filters import first_broken
from pacos.generate.ledger import Call
from pacos.generate.modes import Mode
from pacos.generate.parser import Block
from pacos.generate.prompts import NUM_DEMONSTRATIONS, NUM_TASKS
from pacos.text import Novelty

NEW_TASKS = NUM_TASKS - NUM_DEMONSTRATIONS
NOT_NOVEL = "not_novel"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an example stood: request number, position in the reply (both from 0), and the ledger's key."""

    request: int
    index: int
    key: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An example of the data set; `similarity` is its ROUGE-L to `nearest`, a seed or an example kept before it."""

    example: Example
    origin: Origin
    similarity: float
    nearest: str | None
    seed_similarity: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """A block that was refused; `nearest` is set where the rule is novelty, `example` where it could be read."""

    rule: str
    text: str
    example: Example | None
    origin: Origin
    similarity: float | None = None
    nearest: str | None = None


class Pool:
    """Judges examples until `num_examples` are kept. What it holds depends on the replies and their order alone."""

    def __init__(self, mode: Mode, seed_tasks: Sequence[SeedTask], num_examples: int, threshold: float) -> None:
        self._mode = mode
        self._num_examples = num_examples
        self._novelty = Novelty(threshold, mode.tokenizer)
        self._seeds = Novelty(threshold, mode.tokenizer)
        for task in seed_tasks:
            self._novelty.add(task.instruction)
            self._seeds.add(task.instruction)
        self.kept: list[Kept] = []
        self.rejected: list[Rejected] = []
        self.num_replies = 0
        self.num_blocks = 0
        self.replies_since_kept = 0
        self.kept_after_reply: list[int] = []

    @property
    def full(self) -> bool:
        """Whether enough examples are kept."""
        return len(self.kept) >= self._num_examples

    @property
    def missing(self) -> int:
        """How many examples are still to be kept."""
        return self._num_examples - len(self.kept)

    @property
    def num_asked(self) -> int:
        """How many tasks the replies judged so far were asked for."""
        return self.num_replies * NEW_TASKS

    @property
    def rejections(self) -> dict[str, int]:
        """Rule -> how many it rejected, the most frequent first."""
        return dict(Counter(rejected.rule for rejected in self.rejected).most_common())

    def take(self, call: Call, reply: Reply) -> int:
        """Judges a reply's blocks and returns how many were kept; what comes after the last one wanted is left."""
        before = len(self.kept)
        for index, block in enumerate(self._mode.parse(reply)):
            if self.full:
                break
            self._judge(block, Origin(call.number, index, call.key))
        num_kept = len(self.kept) - before
        self.num_replies += 1
        self.replies_since_kept = 0 if num_kept else self.replies_since_kept + 1
        self.kept_after_reply.append(len(self.kept))
        return num_kept

    def _judge(self, block: Block, origin: Origin) -> None:
        self.num_blocks += 1
        if block.example is None:
            self.rejected.append(Rejected(block.rule, block.text, None, origin))
            return
        example = self._mode.clean(block.example)
        if rule := first_broken(example, self._mode.rules):
            self.rejected.append(Rejected(rule, block.text, example, origin))
            return
        similarity, nearest = self._novelty.nearest(example.instruction)
        if similarity > self._novelty.threshold:
            self.rejected.append(Rejected(NOT_NOVEL, block.text, example, origin, similarity, nearest))
            return
        seed_similarity, _ = self._seeds.nearest(example.instruction)
        self._novelty.add(example.instruction)
        self.kept.append(Kept(example, origin, similarity, nearest, seed_similarity))
