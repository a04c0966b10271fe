"""Skills that change or look into short rows of words."""

import random
from collections.abc import Callable

from pacos.engines.builtin import world
from pacos.engines.builtin.skills.skill import Slots


def _row(low: int, high: int, answer: Callable[[list[str]], str], join: str = " ") -> Callable[[random.Random], Slots]:
    """Draws `low` to `high` different words as `x`."""

    def draw(rng: random.Random) -> Slots:
        row = world.words(rng, rng.randint(low, high))
        return {"x": join.join(row), "y": answer(row)}

    return draw


def _repeat(rng: random.Random) -> Slots:
    word, times = rng.choice(world.NOUNS), rng.randint(2, 5)
    return {"x": word, "n": world.number_word(times), "y": " ".join([word] * times), "input": word}


def _replace(rng: random.Random) -> Slots:
    row, new = world.words(rng, 4), ""
    new = rng.choice([word for word in world.NOUNS if word not in row])
    old = rng.choice(row)
    return {"x": " ".join(row), "old": old, "new": new, "y": " ".join(new if word == old else word for word in row)}


def _longest(rng: random.Random) -> Slots:
    while True:
        row = world.words(rng, 3)
        lengths = sorted(map(len, row))
        if lengths[2] >= lengths[1] + 2:
            return {"x": ", ".join(row), "y": max(row, key=len)}


def _odd_one(rng: random.Random) -> Slots:
    members: dict[str, list[str]] = {}
    for thing, category in world.CATEGORIES.items():
        members.setdefault(category, []).append(thing)
    same, other = rng.sample(sorted(members), 2)
    odd = rng.choice(members[other])
    row = [*rng.sample(members[same], 3), odd]
    rng.shuffle(row)
    return {"x": ", ".join(row), "y": odd}


def _contains(rng: random.Random) -> Slots:
    row = world.words(rng, 4)
    inside = rng.random() < 0.5
    word = rng.choice(row) if inside else rng.choice([w for w in world.NOUNS if w not in row])
    return {"x": " ".join(row), "w": word, "y": "yes" if inside else "no"}


LISTS = {
    "first_word": _row(3, 6, lambda row: row[0]),
    "last_word": _row(3, 6, lambda row: row[-1]),
    "second_word": _row(3, 5, lambda row: row[1]),
    "count_words": _row(2, 7, lambda row: str(len(row))),
    "reverse_words": _row(3, 4, lambda row: " ".join(reversed(row))),
    "repeat_word": _repeat,
    "copy": _row(3, 6, " ".join),
    "with_commas": _row(3, 4, ", ".join),
    "with_and": _row(2, 2, " and ".join),
    "with_hyphens": _row(2, 4, "-".join),
    "snake_case": _row(2, 4, "_".join),
    "bullets": _row(2, 4, lambda row: "\n".join(f"- {word}" for word in row), ", "),
    "numbered_list": _row(2, 4, lambda row: "\n".join(f"{place}. {word}" for place, word in enumerate(row, 1)), ", "),
    "drop_first": _row(3, 5, lambda row: " ".join(row[1:])),
    "drop_last": _row(3, 5, lambda row: " ".join(row[:-1])),
    "replace_word": _replace,
    "longest_word": _longest,
    "odd_one_out": _odd_one,
    "contains_word": _contains,
    "initials": _row(3, 4, lambda row: "".join(word[0].upper() for word in row)),
    "swap_two": _row(2, 2, lambda row: f"{row[1]} {row[0]}"),
    "in_quotes": _row(2, 4, lambda row: '"' + " ".join(row) + '"'),
    "in_brackets": _row(2, 4, lambda row: "(" + " ".join(row) + ")"),
}
