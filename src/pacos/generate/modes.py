"""The modes: one loop, and the small parts in which they differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from pacos.core.records import Example, SeedTask
from pacos.engines import Reply
from pacos.generate.filters import FIXED_RULES, PUBLISHED_RULES, Rule, keep_as_written, normalise_input
from pacos.generate.parser import Block, parse_published, parse_tolerant
from pacos.generate.prompts import CORRECT_NUMBERS, NUM_TASKS, PUBLISHED_NUMBERS, build_prompt
from pacos.text import rouge_tokens, unicode_tokens
from pacos.text.tokens import Tokenizer


@dataclass(frozen=True)
class Mode:
    """What a mode asks, how it reads the answer, and what it refuses."""

    name: str
    prompt: Callable[[Sequence[SeedTask]], str]
    stop: tuple[str, ...]
    parse: Callable[[Reply], list[Block]]
    clean: Callable[[Example], Example]
    rules: tuple[Rule, ...]
    tokenizer: Tokenizer


# "20." is a defect that this mode keeps: it ends a reply at "2020." or "$20." as well, in the middle of an
# output, and the finish reason then says that the output is whole.
ALPACA = Mode(
    name="alpaca",
    prompt=partial(build_prompt, requirement_numbers=PUBLISHED_NUMBERS),
    stop=("\n20", "20."),
    parse=parse_published,
    clean=keep_as_written,
    rules=PUBLISHED_RULES,
    tokenizer=rouge_tokens,
)

ALPACA_FIXED = Mode(
    name="alpaca-fixed",
    prompt=partial(build_prompt, requirement_numbers=CORRECT_NUMBERS),
    stop=(f"\n{NUM_TASKS + 1}. Instruction:",),
    parse=parse_tolerant,
    clean=normalise_input,
    rules=FIXED_RULES,
    tokenizer=unicode_tokens,
)

MODES = {mode.name: mode for mode in (ALPACA, ALPACA_FIXED)}
