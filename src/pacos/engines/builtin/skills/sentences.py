"""Skills about whole sentences: rewriting, extracting, judging, writing to a pattern."""

import random
from collections.abc import Callable

from pacos.engines.builtin import world
from pacos.engines.builtin.skills.skill import Slots


def _scene(answer: Callable[[str], str]) -> Callable[[random.Random], Slots]:
    def draw(rng: random.Random) -> Slots:
        sentence = world.scene(rng)
        return {"x": sentence, "y": answer(sentence)}

    return draw


def _visit(wanted: str) -> Callable[[random.Random], Slots]:
    """A sentence with a name, a place, a day and a number, and one of them as the answer."""

    def draw(rng: random.Random) -> Slots:
        parts = {
            "name": rng.choice(world.NAMES),
            "place": rng.choice(world.PLACES),
            "day": rng.choice(world.DAYS),
            "number": str(rng.randint(2, 20)),
            "thing": rng.choice(
                ("apples", "books", "chairs", "keys", "letters", "boxes", "birds", "horses", "trees", "cakes")
            ),
        }
        orders = (
            "{name} went to the {place} on {day} and saw {number} {thing}.",
            "On {day} {name} took {number} {thing} to the {place}.",
            "{name} bought {number} {thing} at the {place} on {day}.",
            "At the {place}, {name} counted {number} {thing} on {day}.",
        )
        return {"x": rng.choice(orders).format(**parts), "y": parts[wanted]}

    return draw


def _state(answer: str) -> Callable[[random.Random], Slots]:
    """ "Anna is happy." and its turns."""

    def draw(rng: random.Random) -> Slots:
        woman = rng.random() < 0.5
        name = rng.choice(world.WOMEN if woman else world.MEN)
        pronoun = "She" if woman else "He"
        feeling, when = rng.choice(world.FEELINGS), rng.choice(("", " today", " now", " again", " this morning"))
        made = {
            "negative": f"{name} is not {feeling}{when}.",
            "question": f"Is {name} {feeling}{when}?",
            "pronoun": f"{pronoun} is {feeling}{when}.",
        }
        return {"x": f"{name} is {feeling}{when}.", "y": made[answer]}

    return draw


def _tense(answer: str) -> Callable[[random.Random], Slots]:
    """One action in present, past and future."""

    def draw(rng: random.Random) -> Slots:
        name, when = rng.choice(world.NAMES), rng.choice(world.WHEN)
        present, past, plain = rng.choice([a for a in world.ACTIONS if answer != "name" or a[1] != "read"])
        tenses = {
            "present": f"{name} {present} {when}.",
            "past": f"{name} {past} {when}.",
            "future": f"{name} will {plain} {when}.",
        }
        if answer == "name":
            tense = rng.choice(sorted(tenses))
            return {"x": tenses[tense], "y": tense}
        return {"x": tenses["present"], "y": tenses[answer]}

    return draw


def _review(rng: random.Random) -> Slots:
    positive = rng.random() < 0.5
    word = rng.choice(world.LIKED if positive else world.DISLIKED)
    pattern = rng.choice(
        (
            "The {0} was {1}.",
            "I think the {0} is {1}.",
            "What {2} {0}!",
            "My friend said the {0} was {1}.",
            "This {0} is {1}.",
        )
    )
    text = pattern.format(rng.choice(world.REVIEWED), word, world.with_article(word))
    return {"x": text, "y": "positive" if positive else "negative"}


def _question_or_not(rng: random.Random) -> Slots:
    name, feeling, when = rng.choice(world.NAMES), rng.choice(world.FEELINGS), rng.choice(world.WHEN)
    asks = rng.random() < 0.5
    text = f"Is {name} {feeling} {when}?" if asks else f"{name} is {feeling} {when}."
    return {"x": text, "y": "question" if asks else "statement"}


def _part_of_speech(rng: random.Random) -> Slots:
    kinds = {"noun": world.NOUNS, "verb": world.VERBS, "adjective": world.ADJECTIVES}
    kind = rng.choice(sorted(kinds))
    other = {word for name, row in kinds.items() if name != kind for word in row}
    return {"x": rng.choice([word for word in kinds[kind] if word not in other]), "y": kind}


def _living(rng: random.Random) -> Slots:
    living = rng.random() < 0.5
    things = [t for t, c in world.CATEGORIES.items() if c in ("tool", "furniture", "clothing", "vehicle")]
    return {"x": rng.choice(sorted(world.CLASSES) if living else things), "y": "yes" if living else "no"}


def _greeting(form: str) -> Callable[[random.Random], Slots]:
    def draw(rng: random.Random) -> Slots:
        name, sender = rng.sample(world.NAMES, 2)
        thing = rng.choice(("book", "cake", "letter", "lamp", "flowers", "scarf", "bread", "picture", "basket", "tea"))
        day = rng.choice(world.DAYS)
        written = {
            "hello": f"Hello {name}, it is good to see you.",
            "thanks": f"Dear {name}, thank you for the {thing}. Yours, {sender}",
            "invite": f"Dear {name}, please come to my party on {day}.",
        }
        facts = f"gift: {thing}, from: {sender}" if form == "thanks" else f"day: {day}"
        slots = {"x": name, "thing": thing, "sender": sender, "day": day}
        return slots | {"y": written[form], "input": f"name: {name}, {facts}"}

    return draw


def _person(form: str) -> Callable[[random.Random], Slots]:
    def draw(rng: random.Random) -> Slots:
        name, age, city = rng.choice(world.NAMES), str(rng.randint(6, 90)), rng.choice(sorted(world.CAPITALS.values()))
        written = {
            "json": f'{{"name": "{name}", "age": {age}, "city": "{city}"}}',
            "csv": f"{name},{age},{city}",
            "sentence": f"{name} is {age} years old and lives in {city}.",
        }
        text = f"name: {name}, age: {age}, city: {city}" if form == "sentence" else written["sentence"]
        return {"x": text, "y": written[form]}

    return draw


SENTENCES = {
    "extract_name": _visit("name"),
    "extract_place": _visit("place"),
    "extract_day": _visit("day"),
    "extract_number": _visit("number"),
    "make_negative": _state("negative"),
    "make_question": _state("question"),
    "use_pronoun": _state("pronoun"),
    "to_past": _tense("past"),
    "to_future": _tense("future"),
    "name_tense": _tense("name"),
    "sentiment": _review,
    "question_or_statement": _question_or_not,
    "part_of_speech": _part_of_speech,
    "is_animal": _living,
    "shout": _scene(lambda s: s.upper()),
    "title_case": _scene(lambda s: " ".join(word.capitalize() for word in s.split())),
    "exclaim": _scene(lambda s: s[0].upper() + s[1:] + "!"),
    "write_greeting": _greeting("hello"),
    "write_thanks": _greeting("thanks"),
    "write_invitation": _greeting("invite"),
    "to_json": _person("json"),
    "to_csv": _person("csv"),
    "describe_person": _person("sentence"),
}
