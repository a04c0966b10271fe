"""The prompt a teacher gets: requirements, tasks to go on from, and the number of the task to write next."""

import re
from collections.abc import Callable, Sequence
from itertools import islice

from pacos.core.records import Example, SeedTask

NO_INPUT = "<noinput>"
# Shown instances of one task: more would crowd out other tasks.
INSTANCES_SHOWN = 3

_OPENING = (
    "Write a list of {num_tasks} varied tasks, each an instruction that a language model could be given, together with "
    "a good answer. The tasks will be used to find out how well a model follows instructions.\n\n"
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
_INSTANCE_REQUIREMENTS = (
    'After the instruction, say under "Classification" whether the task is one: yes where the answer is one of a '
    "few fixed labels, else no.",
    "Give a task that needs an input two or three instances, each with another input and the output that fits it.",
    "In a classification task write the output of each instance, its label, before an input that deserves it, and "
    "let the labels of its instances differ. In any other task write the input first.",
)
# The released prompt counts its requirements wrongly; a mode that repeats the procedure repeats that.
PUBLISHED_NUMBERS = (1, 2, 3, 2, 3, 4, 5, 6, 7)


def published_head(num_tasks: int) -> str:
    """The text before the demonstrations in the published structure (stanford_alpaca/prompt.txt), in own sentences."""
    return _head(num_tasks, _REQUIREMENTS, PUBLISHED_NUMBERS)


def fixed_head(num_tasks: int) -> str:
    """The same, its requirements counted rightly."""
    return _head(num_tasks, _REQUIREMENTS, range(1, len(_REQUIREMENTS) + 1))


def instances_head(num_tasks: int) -> str:
    """The same for tasks that say whether they classify, and that may have several instances."""
    requirements = (*_REQUIREMENTS, *_INSTANCE_REQUIREMENTS)
    return _head(num_tasks, requirements, range(1, len(requirements) + 1))


def _head(num_tasks: int, requirements: Sequence[str], numbers: Sequence[int]) -> str:
    counted = [f"{number}. {line}" for number, line in zip(numbers, requirements, strict=True)]
    return "\n".join([_OPENING.format(num_tasks=num_tasks), *counted, "", f"List of {num_tasks} tasks:"])


def build_prompt(head: str, block: Callable[[int, SeedTask], str], demonstrations: Sequence[SeedTask]) -> str:
    """The text to complete; it ends in "k. Instruction:" with k the number of the first task to be written.

    Byte for byte as `encode_prompt` of stanford_alpaca/generate_instruction.py puts one together from its prompt.txt.
    """
    blocks = [f"###\n{block(number, task)}" for number, task in enumerate(demonstrations, start=1)]
    return f"{head}\n{''.join(blocks)}###\n{len(demonstrations) + 1}. Instruction:"


def one_example(number: int, task: SeedTask) -> str:
    """A demonstration of the published shape: the first instance alone."""
    shown = task.examples[0]
    return (
        f"{number}. Instruction: {_instruction(task)}\n"
        f"{number}. Input:\n{shown.input or NO_INPUT}\n"
        f"{number}. Output:\n{shown.output}\n"
    )


def all_instances(number: int, task: SeedTask) -> str:
    """A demonstration that says whether the task classifies, with up to three instances: output first if it does."""
    lines = [f"{number}. Instruction: {_instruction(task)}"]
    lines.append(f"{number}. Classification: {'yes' if task.is_classification else 'no'}")
    for example in islice(_spread(task), INSTANCES_SHOWN):
        fields = [f"{number}. Input:\n{example.input or NO_INPUT}", f"{number}. Output:\n{example.output}"]
        lines += reversed(fields) if task.is_classification else fields
    return "\n".join(lines) + "\n"


def _spread(task: SeedTask) -> list[Example]:
    """The instances, those with an output not shown yet first: the labels of a classification should all be seen."""
    firsts = {example.output: example for example in reversed(task.examples)}
    return sorted(task.examples, key=lambda example: firsts[example.output] is not example)


def _instruction(task: SeedTask) -> str:
    return re.sub(r"\s+", " ", task.instruction).strip().rstrip(":")
