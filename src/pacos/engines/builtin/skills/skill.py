"""What a skill is: ways to ask, a way to draw a case with its right answer, and how plain text says the same."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pacos.engines.builtin.world import with_article

Slots = dict[str, str]
"""`x` is what is asked about, `y` the right answer; a skill may have more."""


@dataclass(frozen=True, slots=True)
class Task:
    """One case of a skill: an instruction, its input ("" for none) and the computed answer."""

    skill: str
    instruction: str
    input: str
    output: str


@dataclass(frozen=True)
class Skill:
    """Something the builtin teacher can do without fail.

    `ask` holds the content in the instruction, `ask_input` leaves it to the input, `say` are plain statements of
    the same substance, for the text that pacos-mini is pretrained on. `chance` is what guessing among the answers
    scores: 0 for open answers.
    """

    name: str
    group: str
    draw: Callable[[random.Random], Slots]
    ask: tuple[str, ...]
    ask_input: tuple[str, ...]
    say: tuple[str, ...]
    chance: float = 0.0

    def sample(self, rng: random.Random) -> Task:
        """Draws one task: about half with an input, most with a sentence before or after, as people write."""
        slots = with_articles(self.draw(rng))
        # The coin comes before the phrasing, so that a skill with few input phrasings still has its half.
        with_input = bool(self.ask_input) and (not self.ask or rng.random() < 0.5)
        phrasing = rng.choice(self.ask_input if with_input else self.ask)
        instruction = _framed(phrasing.format(**slots), rng)
        return Task(self.name, instruction, slots.get("input", slots["x"]) if with_input else "", slots["y"])

    def more(self, task: Task, number: int, rng: random.Random) -> list[Task]:
        """Up to `number` further instances of a task whose content is in its input: other inputs, their outputs."""
        if not task.input or not any("{" not in asked and asked in task.instruction for asked in self.ask_input):
            return []
        found: dict[str, Task] = {}
        for slots in (with_articles(self.draw(rng)) for _ in range(4 * number)):
            given = slots.get("input", slots["x"])
            if given != task.input:
                found.setdefault(given, Task(self.name, task.instruction, given, slots["y"]))
        return list(found.values())[:number]


def with_articles(slots: Slots) -> Slots:
    """Adds `a_x`, `A_x` ("an owl", "An owl") and the same of `y`."""
    articles = {f"a_{name}": with_article(slots[name]) for name in ("x", "y")}
    return slots | articles | {f"A{name[1:]}": text.capitalize() for name, text in articles.items()}


def fact(pairs: Mapping[str, str]) -> Callable[[random.Random], Slots]:
    """Draws one entry of a table: `x` the key, `y` the value."""
    entries = list(pairs.items())

    def draw(rng: random.Random) -> Slots:
        x, y = rng.choice(entries)
        return {"x": x, "y": y}

    return draw


OPENERS = (
    "I am making a quiz for my class.",
    "Please help me with this.",
    "Here is a small task for you.",
    "We are playing a word game at home.",
    "My daughter asked me this at breakfast.",
    "I need this for my notes.",
    "This came up in a lesson today.",
    "A friend and I could not agree.",
    "I am learning English.",
    "You are a careful assistant.",
    "Someone at work asked me this.",
    "I am filling in a form.",
    "Help me with my homework.",
    "I forgot how this goes.",
    "It is late and I am tired.",
    "Let us practise a little.",
    "My teacher gave us this exercise.",
    "I am checking a list.",
    "There is a test tomorrow morning.",
    "This one is for a beginner.",
    "I would like to know something.",
    "Be quick with this one.",
    "My son is stuck on a puzzle.",
    "We want to print a worksheet.",
)
CLOSERS = (
    "Give only the answer.",
    "Keep it short.",
    "Answer without any explanation.",
    "Nothing else is needed.",
    "Do not add a comment.",
    "Write just the result.",
    "Please be exact.",
    "Thank you in advance.",
    "I will check it later.",
    "One short line is enough.",
    "Do it step by step in your head.",
    "No extra words, please.",
    "That is all I need.",
    "Be careful with the spelling.",
    "I only want the final answer.",
    "Say it plainly.",
    "Skip the introduction.",
    "It should be easy for you.",
)


def _framed(request: str, rng: random.Random) -> str:
    opener = rng.choice(OPENERS) + " " if rng.random() < 0.5 else ""
    closer = " " + rng.choice(CLOSERS) if rng.random() < 0.5 else ""
    return opener + request + closer
