"""A seeded stand-in for an LLM teacher's text: tasks in the asked format, most of them good, some faulty."""

import random
import re

VERBS = re.findall(
    r"\w+",
    """Describe Explain Compare Summarise Translate Rewrite List Name Suggest Classify Outline Invent Estimate Justify
    Criticise Simplify Paraphrase Recommend Imagine Calculate Identify Sort Convert Draft Compose Predict Evaluate""",
)
SYLLABLES = [consonant + vowel for consonant in "bdklmrstvz" for vowel in "aeiou"]


def word(rng: random.Random) -> str:
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4)))


def sentence(rng: random.Random, num_words: int) -> str:
    return " ".join(word(rng) for _ in range(num_words))


def good_task(rng: random.Random) -> tuple[str, str, str]:
    instruction = f"{rng.choice(VERBS)} the {sentence(rng, rng.randint(5, 9))}."
    input = sentence(rng, 6) if rng.random() < 0.5 else "<noinput>"
    return instruction, input, f"{sentence(rng, rng.randint(3, 12)).capitalize()}."


def faulty_task(rng: random.Random) -> tuple[str, str, str]:
    instruction, input, output = good_task(rng)
    return rng.choice(
        [
            ("Do it.", input, output),
            (f"{instruction} Then draw a picture of {word(rng)}.", input, output),
            (f"Write a program that can {sentence(rng, 5)}.", input, output),
            (f"* {instruction}", input, output),
            (instruction, input, ""),
            ("Describe the same thing as always in these very words.", input, output),
        ]
    )


def teacher_text(prompt: str, seed: int | None = None, faulty: float = 0.2) -> str:
    """The seventeen tasks after a prompt that ends in "4. Instruction:", up to and including the twentieth."""
    first = int(re.findall(r"(\d+)\. Instruction:", prompt)[-1])
    rng = random.Random(f"{prompt}/{seed}")
    text = ""
    for number in range(first, 21):
        make = faulty_task if rng.random() < faulty else good_task
        instruction, input, output = make(rng)
        label = "" if number == first else f"###\n{number}. Instruction:"
        text += f"{label} {instruction}\n{number}. Input:\n{input}\n{number}. Output:\n{output}\n"
    return text
