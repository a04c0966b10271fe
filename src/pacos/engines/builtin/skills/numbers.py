"""Skills about numbers, days and months."""

import random
from collections.abc import Callable

from pacos.engines.builtin import world
from pacos.engines.builtin.skills.skill import Slots, fact


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


NUMBERS = {
    "number_to_words": _number(0, 100, world.number_word),
    "words_to_number": fact({world.number_word(n): str(n) for n in range(101)}),
    "ordinal": _number(1, 20, lambda n: world.ORDINALS[n - 1]),
    "roman": _number(1, 39, world.roman),
    "number_after": _number(1, 99, lambda n: str(n + 1)),
    "number_before": _number(2, 100, lambda n: str(n - 1)),
    "double": _number(1, 50, lambda n: str(2 * n)),
    "half": fact({str(2 * n): str(n) for n in range(1, 51)}),
    "add": _two_numbers(1, 21, lambda a, b: a + b),
    "subtract": _two_numbers(1, 21, lambda a, b: a - b),
    "larger_number": _two_numbers(1, 100, max),
    "smaller_number": _two_numbers(1, 100, min),
    "even_or_odd": _number(1, 100, lambda n: "odd" if n % 2 else "even"),
    "continue_series": _series,
    "day_after": fact(_shift(world.DAYS, 1)),
    "day_before": fact(_shift(world.DAYS, -1)),
    "month_after": fact(_shift(world.MONTHS, 1)),
    "month_before": fact(_shift(world.MONTHS, -1)),
}
