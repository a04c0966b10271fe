"""The prompt a teacher gets: requirements, three seed tasks, and the number of the task to go on from."""

import re
from collections.abc import Sequence

from pacos.core.records import SeedTask

NUM_TASKS = 20
NUM_DEMONSTRATIONS = 3
NO_INPUT = "<noinput>"

_HEADER = (
    "Write a list of 20 varied tasks, each an instruction that a language model could be given, together with a "
    "good answer. The tasks will be used to find out how well a model follows instructions.\n\n"
    "Every task must meet these requirements:"
)
_REQUIREMENTS = (
    "Begin the instructions with many different verbs; one verb should hardly ever come twice.",
    "Vary the wording as well: put some instructions as questions and others as commands.",
    "Vary the kind of task: open-ended writing, classification, editing, answering, explaining, planning and more.",
    "A language model must be able to do the task with text alone. Never ask it to look at or make a picture, a "
    "sound or a video, and never ask it to do something later or outside of the conversation.",
    "Write all instructions in English.",
    "Keep an instruction to one or two sentences, as a command or a question.",
    "Where a task needs material to work on, give it as the input: concrete and realistic rather than a "
    "placeholder, of some substance, and at most about 100 words.",
    f"Where a task needs no material, as with a question of general knowledge, write {NO_INPUT} as the input.",
    "The output is a fitting answer to the instruction and its input, in fewer than 100 words.",
)
# The released prompt counts its requirements wrongly; a mode that repeats the procedure repeats that.
PUBLISHED_NUMBERS = (1, 2, 3, 2, 3, 4, 5, 6, 7)
CORRECT_NUMBERS = tuple(range(1, len(_REQUIREMENTS) + 1))


def build_prompt(demonstrations: Sequence[SeedTask], requirement_numbers: Sequence[int]) -> str:
    """The text to complete; it ends in "k. Instruction:" with k the number of the first task to be written.

    The structure is that of the published recipe (stanford_alpaca/generate_instruction.py, `encode_prompt`);
    the sentences are this project's own.
    """
    requirements = [f"{number}. {line}" for number, line in zip(requirement_numbers, _REQUIREMENTS, strict=True)]
    head = "\n".join([_HEADER, *requirements, "", f"List of {NUM_TASKS} tasks:", ""])
    blocks = [_block(number, task) for number, task in enumerate(demonstrations, start=1)]
    return head + "".join(blocks) + f"###\n{len(demonstrations) + 1}. Instruction:"


def _block(number: int, task: SeedTask) -> str:
    shown = task.examples[0]
    instruction = re.sub(r"\s+", " ", task.instruction).strip().rstrip(":")
    return (
        f"###\n{number}. Instruction: {instruction}\n"
        f"{number}. Input:\n{shown.input or NO_INPUT}\n"
        f"{number}. Output:\n{shown.output}\n"
    )
