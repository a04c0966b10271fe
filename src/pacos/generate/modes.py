"""The modes: one loop, and the small parts in which they differ."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pacos.core.records import Example, SeedTask
from pacos.engines import Reply
from pacos.generate.filters import (
    FIXED_RULES,
    INSTANCE_RULES,
    PUBLISHED_RULES,
    Rule,
    keep_as_written,
    normalise_input,
)
from pacos.generate.parser import Block, parse_instances, parse_published, parse_tolerant
from pacos.generate.prompts import all_instances, fixed_head, instances_head, one_example, published_head
from pacos.text import rouge_tokens, unicode_tokens
from pacos.text.tokens import Tokenizer


@dataclass(frozen=True)
class Mode:
    """What a mode shows and asks, how it reads the answer, and what it refuses.

    A prompt shows `num_from_seeds` seed tasks and `num_from_pool` kept ones; the reply goes on to task `last_task`.
    """

    name: str
    head: str
    demonstration: Callable[[int, SeedTask], str]
    num_from_seeds: int
    num_from_pool: int
    last_task: int
    stop: tuple[str, ...]
    parse: Callable[[Reply], list[Block]]
    clean: Callable[[Example], Example]
    rules: tuple[Rule, ...]
    tokenizer: Tokenizer

    @property
    def num_shown(self) -> int:
        """How many demonstrations a prompt has."""
        return self.num_from_seeds + self.num_from_pool

    @property
    def new_tasks(self) -> int:
        """How many tasks one request asks for."""
        return self.last_task - self.num_shown


# "20." is a defect that this mode keeps: it ends a reply at "2020." or "$20." as well, in the middle of an
# output, and the finish reason then says that the output is whole. "\n20" keeps the twentieth task away.
ALPACA = Mode(
    name="alpaca",
    head=published_head(20),
    demonstration=one_example,
    num_from_seeds=3,
    num_from_pool=0,
    last_task=19,
    stop=("\n20", "20."),
    parse=partial(parse_published, first=4),
    clean=keep_as_written,
    rules=PUBLISHED_RULES,
    tokenizer=rouge_tokens,
)

ALPACA_FIXED = Mode(
    name="alpaca-fixed",
    head=fixed_head(20),
    demonstration=one_example,
    num_from_seeds=3,
    num_from_pool=0,
    last_task=20,
    stop=("\n21. Instruction:",),
    parse=partial(parse_tolerant, first=4),
    clean=normalise_input,
    rules=FIXED_RULES,
    tokenizer=unicode_tokens,
)

# Six of eight from the seeds, as in Self-Instruct: a pool that showed only itself would drift.
SELF_INSTRUCT = Mode(
    name="self-instruct",
    head=instances_head(16),
    demonstration=all_instances,
    num_from_seeds=6,
    num_from_pool=2,
    last_task=16,
    stop=("\n17. Instruction:",),
    parse=partial(parse_instances, first=9),
    clean=normalise_input,
    rules=INSTANCE_RULES,
    tokenizer=unicode_tokens,
)

MODES = {mode.name: mode for mode in (ALPACA, ALPACA_FIXED, SELF_INSTRUCT)}
