"""The rule-based teacher: reads the prompt an LLM teacher gets and goes on with its list of tasks."""

import random
import re

from pacos.engines.builtin import world
from pacos.engines.builtin.skills import SKILLS, Task
from pacos.engines.types import FinishReason

# Shares of tasks that come out wrong. Released Alpaca's teacher made all of these mistakes too.
FAULTS = {
    "blacklisted": 0.03,
    "near_duplicate": 0.06,
    "too_short": 0.02,
    "program": 0.01,
    "bad_start": 0.01,
    "too_long": 0.01,
    "missing_output": 0.015,
    "empty_output": 0.015,
    "misnumbered": 0.01,
}
CUT_SHARE = 0.3


def teacher_reply(prompt: str, rng: random.Random) -> tuple[str, FinishReason]:
    """Continues "List of N tasks:" after the prompt's last "k. Instruction:"; says so where there is no such list.

    Where the tasks shown say whether they classify, its own do so too, with up to three instances each.
    """
    wanted = re.search(r"List of (\d+) tasks", prompt)
    numbers = re.findall(r"(\d+)\. Instruction:", prompt)
    if not numbers:
        return "I am a rule-based teacher and can only go on with a list of tasks.", "stop"
    first, last = int(numbers[-1]), int(wanted.group(1)) if wanted else 20
    classifies = re.search(r"^\d+\. Classification: ", prompt, re.M) is not None
    blocks: list[str] = []
    tasks: list[Task] = []
    for number in range(first, last + 1):
        fault = _draw_fault(rng) if tasks else ""
        task = _faulty(fault, tasks, rng)
        tasks.append(task)
        blocks.append(_instances(number, task, rng) if classifies and not fault else _block(number, task, fault))
    text = "\n###\n".join(blocks)
    # The prompt already ends in the first block's label.
    text = text.removeprefix(f"{first}. Instruction:")
    if rng.random() < CUT_SHARE:
        return text[: len(text) - rng.randint(5, 60)], "length"
    return text + "\n", "stop"


def _draw_fault(rng: random.Random) -> str:
    draw = rng.random()
    for fault, share in FAULTS.items():
        if draw < share:
            return fault
        draw -= share
    return ""


def _faulty(fault: str, earlier: list[Task], rng: random.Random) -> Task:
    task = SKILLS[rng.choice(list(SKILLS))].sample(rng)
    thing = rng.choice(world.THINGS)
    if fault == "blacklisted":
        verb = rng.choice(("Draw a picture of", "Make a graph about", "Find a video about", "Describe the image of"))
        return Task("", f"{verb} {world.with_article(thing)}.", "", f"Here it is: {thing}.")
    if fault == "near_duplicate":
        twin = rng.choice(earlier)
        return Task(twin.skill, f"{twin.instruction} Please.", twin.input, twin.output)
    if fault == "too_short":
        return Task("", f"Name {world.with_article(thing)}.", "", thing)
    if fault == "program":
        return Task("", f"Write a program that prints the word {thing} ten times.", "", f'print("{thing}\\n" * 10)')
    if fault == "bad_start":
        return Task(task.skill, f"- {task.instruction}", task.input, task.output)
    if fault == "too_long":
        story = " ".join(f"Then {world.scene(rng)}." for _ in range(24))
        return Task("", f"Count the sentences of this story. {story}", "", "24")
    return task


def _block(number: int, task: Task, fault: str) -> str:
    if fault == "misnumbered":
        number += 1
    output = "" if fault == "empty_output" else task.output
    block = f"{number}. Instruction: {task.instruction}\n{number}. Input:\n{task.input or '<noinput>'}"
    return block if fault == "missing_output" else f"{block}\n{number}. Output:\n{output}"


def _instances(number: int, task: Task, rng: random.Random) -> str:
    skill = SKILLS[task.skill]
    is_classification = skill.chance > 0
    lines = [f"{number}. Instruction: {task.instruction}"]
    lines.append(f"{number}. Classification: {'yes' if is_classification else 'no'}")
    for instance in [task, *skill.more(task, 2, rng)]:
        fields = [f"{number}. Input:\n{instance.input or '<noinput>'}", f"{number}. Output:\n{instance.output}"]
        lines += reversed(fields) if is_classification else fields
    return "\n".join(lines)
