"""The pool: replies go in, in the order of their requests; kept and rejected examples come out."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pacos.asking import Call
from pacos.core.records import Example, SeedTask
from pacos.engines import Reply
from pacos.generate.filters import first_broken
from pacos.generate.modes import Mode
from pacos.generate.parser import Block
from pacos.text import Contamination, Novelty

NOT_NOVEL = "not_novel"
CONTAMINATED = "contaminated"
CONFLICTING = "conflicting_instances"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an example stood: request number, position of its task in the reply (both from 0), the ledger's key."""

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
    is_classification: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """What was refused; `example` where it could be read, `nearest` with its `similarity` where it was too near to a
    text, and `file` where that text is a question of an evaluation set."""

    rule: str
    text: str
    example: Example | None
    origin: Origin
    similarity: float | None = None
    nearest: str | None = None
    file: str = ""

    @property
    def id(self) -> str:
        """The example's id, or one of the same kind for a block that is none."""
        return self.example.id if self.example else hashlib.sha256(self.text.encode()).hexdigest()[:16]


class Pool:
    """Judges examples until `num_examples` are kept. What it holds depends on the replies and their order alone."""

    def __init__(
        self,
        mode: Mode,
        seed_tasks: Sequence[SeedTask],
        num_examples: int,
        threshold: float,
        contamination: Contamination,
    ) -> None:
        self.mode = mode
        self._num_examples = num_examples
        self._contamination = contamination
        self._novelty = Novelty(threshold, mode.tokenizer)
        self._seeds = Novelty(threshold, mode.tokenizer)
        for task in seed_tasks:
            self._novelty.add(task.instruction)
            self._seeds.add(task.instruction)
        self._tasks: list[SeedTask] = []
        self._num_tasks_after: list[int] = []
        self.kept: list[Kept] = []
        self.rejected: list[Rejected] = []
        self.rejections: Counter[str] = Counter()
        self.num_replies = 0
        self.num_read = 0
        self.replies_since_kept = 0
        # Since one held a task that could be read, kept or not.
        self.replies_since_read = 0
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
        return self.num_replies * self.mode.new_tasks

    @property
    def num_judged(self) -> int:
        """How many requests are over, the refused ones included."""
        return len(self._num_tasks_after)

    def tasks_after(self, num_requests: int) -> list[SeedTask]:
        """The tasks that were kept of the first so many requests, with their instances."""
        return self._tasks[: self._num_tasks_after[num_requests - 1]] if num_requests else []

    def take(self, call: Call, reply: Reply) -> None:
        """Judges a reply's tasks; those after the last one wanted are left."""
        before = len(self.kept)
        blocks = self.mode.parse(reply)
        for index, block in enumerate(blocks):
            if self.full:
                break
            self._judge(block, Origin(call.number, index, call.key))
        self.num_replies += 1
        self.replies_since_kept = 0 if len(self.kept) > before else self.replies_since_kept + 1
        self.replies_since_read = 0 if any(block.examples for block in blocks) else self.replies_since_read + 1
        self.kept_after_reply.append(len(self.kept))
        self.close_request()

    def close_request(self) -> None:
        """The next request in order is over: judged, or given up without a reply."""
        self._num_tasks_after.append(len(self._tasks))

    def _judge(self, block: Block, origin: Origin) -> None:
        if block.rule:
            self._reject(Rejected(block.rule, block.text, None, origin))
            return
        passing = []
        examples = [self.mode.clean(example) for example in block.examples]
        for example in examples:
            if rule := first_broken(example, self.mode.rules):
                self._reject(Rejected(rule, block.text, example, origin))
            elif any(other.input == example.input for other in examples if other is not example):
                self._reject(Rejected(CONFLICTING, block.text, example, origin))
            elif match := self._contamination.find(example):
                self._reject(
                    Rejected(CONTAMINATED, block.text, example, origin, match.score, match.question, match.file)
                )
            else:
                passing.append(example)
        if passing:
            self._judge_novelty(block, passing, origin)

    def _judge_novelty(self, block: Block, examples: list[Example], origin: Origin) -> None:
        """The instruction is judged once for all of its instances."""
        instruction = examples[0].instruction
        similarity, nearest = self._novelty.nearest(instruction)
        if similarity > self._novelty.threshold:
            for example in examples:
                self._reject(Rejected(NOT_NOVEL, block.text, example, origin, similarity, nearest))
            return
        seed_similarity, _ = self._seeds.nearest(instruction)
        self._novelty.add(instruction)
        examples = examples[: self.missing]
        for example in examples:
            self.num_read += 1
            self.kept.append(Kept(example, origin, similarity, nearest, seed_similarity, block.is_classification))
        self._tasks.append(SeedTask(examples[0].id, "", instruction, tuple(examples), block.is_classification))

    def _reject(self, rejected: Rejected) -> None:
        self.num_read += 1
        self.rejections[rejected.rule] += 1
        self.rejected.append(rejected)
