"""Skills about numbers, days and months."""

import random
from collections.abc import Callable

from pacos.engines.builtin import world
from pacos.engines.builtin.skills.skill import Skill, Slots, fact


def _number(low: int, high: int, answer: Callable[[int], str]) -> Callable[[random.Random], Slots]:
    def draw(rng: random.Random) -> Slots:
        number = rng.randint(low, high)
        return {"x": str(number), "y": answer(number)}

    return draw


def _two_numbers(low: int, high: int, answer: Callable[[int, int], int]) -> Callable[[random.Random], Slots]:
    def draw(rng: random.Random) -> Slots:
        a, b = rng.sample(range(low, high), 2)
        a, b = max(a, b), min(a, b)
        if answer(a, b) == answer(b, a) and rng.random() < 0.5:
            a, b = b, a
        return {"x": f"{a} and {b}", "a": str(a), "b": str(b), "y": str(answer(a, b))}

    return draw


def _shift(cycle: tuple[str, ...], by: int) -> dict[str, str]:
    return {name: cycle[(place + by) % len(cycle)] for place, name in enumerate(cycle)}


def _series(rng: random.Random) -> Slots:
    step, start = rng.choice((1, 2, 5, 10)), rng.randint(1, 9)
    values = (
        [start + step * place for place in range(5)] if step < 5 else [step * (start + place) for place in range(5)]
    )
    return {"x": ", ".join(map(str, values[:4])), "y": str(values[4])}


NUMBERS = (
    Skill(
        "number_to_words", "numbers", _number(0, 100, world.number_word),
        ask=("Write the number {x} in words.", "How is {x} written as a word?", "Put {x} into words."),
        ask_input=("Write this number in words.", "Spell the given number as a word."),
        say=('In words, {x} is "{y}".', 'The number "{x}" is written "{y}".', "{y} is the word for {x}."),
    ),
    Skill(
        "words_to_number", "numbers", fact({world.number_word(n): str(n) for n in range(101)}),
        ask=('Write "{x}" in digits.', 'Which number is "{x}" in digits?', 'Put the word "{x}" into digits.'),
        ask_input=("Write this number in digits.", "Turn the given number word into digits."),
        say=('In digits, "{x}" is "{y}".', 'The word "{x}" is the number {y}.', "{y} is {x} in digits."),
    ),
    Skill(
        "ordinal", "numbers", _number(1, 20, lambda n: world.ORDINALS[n - 1]),
        ask=("Write the ordinal word for {x}.", "Which ordinal belongs to the number {x}?",
             "Turn {x} into an ordinal word."),
        ask_input=("Write the ordinal word for this number.", "Turn the given number into an ordinal word."),
        say=('The ordinal of {x} is "{y}".', 'Number "{x}" in the row is the "{y}".', "{y} is the ordinal of {x}."),
    ),
    Skill(
        "roman", "numbers", _number(1, 39, world.roman),
        ask=("Write {x} as a Roman numeral.", "What is {x} in Roman numerals?", "Turn {x} into a Roman number."),
        ask_input=("Write this number as a Roman numeral.", "Turn the given number into Roman numerals."),
        say=('In Roman numerals, {x} is "{y}".', 'The Roman numeral of "{x}" is "{y}".',
             "{y} is {x} in Roman numerals."),
    ),
    Skill(
        "number_after", "numbers", _number(1, 99, lambda n: str(n + 1)),
        ask=("Which number comes right after {x}?", "Add one to {x}.", "Count one further than {x}."),
        ask_input=("Which number comes right after this one?", "Add one to the given number."),
        say=('After {x} comes "{y}".', 'The number after "{x}" is "{y}".', "{y} comes after {x}."),
    ),
    Skill(
        "number_before", "numbers", _number(2, 100, lambda n: str(n - 1)),
        ask=("Which number comes right before {x}?", "Take one away from {x}.", "Count one back from {x}."),
        ask_input=("Which number comes right before this one?", "Take one away from the given number."),
        say=('Before {x} comes "{y}".', 'The number before "{x}" is "{y}".', "{y} comes before {x}."),
    ),
    Skill(
        "double", "numbers", _number(1, 50, lambda n: str(2 * n)),
        ask=("What is twice {x}?", "Double the number {x}.", "Multiply {x} by two."),
        ask_input=("Double this number.", "Multiply the given number by two."),
        say=('Twice {x} is "{y}".', 'The double of "{x}" is "{y}".', "{y} is the double of {x}."),
    ),
    Skill(
        "half", "numbers", fact({str(2 * n): str(n) for n in range(1, 51)}),
        ask=("What is half of {x}?", "Divide {x} by two.", "Cut the number {x} in half."),
        ask_input=("Write half of this number.", "Divide the given number by two."),
        say=('Half of {x} is "{y}".', 'The half of "{x}" is "{y}".', "{y} is the half of {x}."),
    ),
    Skill(
        "add", "numbers", _two_numbers(1, 21, lambda a, b: a + b),
        ask=("What is {a} plus {b}?", "Add {a} and {b}.", "Write the sum of {a} and {b}."),
        ask_input=("Add these two numbers.", "Write the sum of the given numbers."),
        say=('{a} plus {b} is "{y}".', 'The sum of {a} and {b} is "{y}".', 'Adding "{a} and {b}" gives "{y}".'),
    ),
    Skill(
        "subtract", "numbers", _two_numbers(1, 21, lambda a, b: a - b),
        ask=("What is {a} minus {b}?", "Take {b} away from {a}.", "Subtract {b} from {a}."),
        ask_input=("Subtract the second number from the first.", "Write the difference of the given numbers."),
        say=('{a} minus {b} is "{y}".', 'Taking {b} from {a} leaves "{y}".',
             'The difference of "{a} and {b}" is "{y}".'),
    ),
    Skill(
        "larger_number", "numbers", _two_numbers(1, 100, max),
        ask=("Which number is larger, {a} or {b}?", "Write the larger one of {a} and {b}."),
        ask_input=("Write the larger of these numbers.", "Which of the given numbers is larger?"),
        say=('The larger of {a} and {b} is "{y}".', 'Of "{a} and {b}", the larger is "{y}".'),
        chance=0.5,
    ),
    Skill(
        "smaller_number", "numbers", _two_numbers(1, 100, min),
        ask=("Which number is smaller, {a} or {b}?", "Write the smaller one of {a} and {b}."),
        ask_input=("Write the smaller of these numbers.", "Which of the given numbers is smaller?"),
        say=('The smaller of {a} and {b} is "{y}".', 'Of "{a} and {b}", the smaller is "{y}".'),
        chance=0.5,
    ),
    Skill(
        "even_or_odd", "numbers", _number(1, 100, lambda n: "odd" if n % 2 else "even"),
        ask=("Is {x} even or odd?", "Classify the number {x} as even or odd."),
        ask_input=("Is this number even or odd?", "Classify the given number as even or odd."),
        say=('The number {x} is "{y}".', '"{x}" is the "{y}" number.', "{x} is {y}."),
        chance=0.5,
    ),
    Skill(
        "continue_series", "numbers", _series,
        ask=("Which number comes next: {x}?", "Continue the row {x} by one number.", "Find the next number after {x}."),
        ask_input=("Which number comes next in this row?", "Continue the given row by one number."),
        say=('After {x} comes "{y}".', 'The row "{x}" goes on with "{y}".', "The row is {x}, {y}."),
    ),
    Skill(
        "day_after", "numbers", fact(_shift(world.DAYS, 1)),
        ask=("Which day comes after {x}?", "If today is {x}, what day is tomorrow?", "Name the day that follows {x}."),
        ask_input=("Which day comes after this one?", "Name the day that follows the given day."),
        say=('After {x} comes "{y}".', 'The day after "{x}" is "{y}".', "{y} follows {x}.",
             "Today is {x} and tomorrow is {y}."),
    ),
    Skill(
        "day_before", "numbers", fact(_shift(world.DAYS, -1)),
        ask=("Which day comes before {x}?", "If today is {x}, what day was yesterday?", "Name the day ahead of {x}."),
        ask_input=("Which day comes before this one?", "Name the day ahead of the given day."),
        say=('Before {x} comes "{y}".', 'The day before "{x}" is "{y}".', "{y} is the day before {x}.",
             "Today is {x} and yesterday was {y}."),
    ),
    Skill(
        "month_after", "numbers", fact(_shift(world.MONTHS, 1)),
        ask=("Which month comes after {x}?", "Name the month that follows {x}.",
             "What is the next month when it is {x}?"),
        ask_input=("Which month comes after this one?", "Name the month that follows the given month."),
        say=('After {x} comes "{y}".', 'The month after "{x}" is "{y}".', "{y} follows {x} in the year."),
    ),
    Skill(
        "month_before", "numbers", fact(_shift(world.MONTHS, -1)),
        ask=("Which month comes before {x}?", "Name the month ahead of {x}.",
             "It is {x} now; what was the month before?"),
        ask_input=("Which month comes before this one?", "Name the month ahead of the given month."),
        say=('Before {x} comes "{y}".', 'The month before "{x}" is "{y}".', "{y} is the month before {x}."),
    ),
)  # fmt: skip
