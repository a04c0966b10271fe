"""Skills about whole sentences: rewriting, extracting, judging, writing to a pattern."""

import random
from collections.abc import Callable

from pacos.engines.builtin import world
from pacos.engines.builtin.skills.skill import Skill, Slots


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


SENTENCES = (
    Skill(
        "extract_name", "sentences", _visit("name"),
        ask=('Who is named in this sentence: "{x}"', 'Find the name of the person in "{x}"'),
        ask_input=("Write the name of the person in this sentence.", "Who is the given sentence about?"),
        say=('The person in "{x}" is "{y}".', 'The name of the person in "{x}" is "{y}".'),
    ),
    Skill(
        "extract_place", "sentences", _visit("place"),
        ask=('Which place is named in "{x}"', 'Find the place in this sentence: "{x}"'),
        ask_input=("Write the place that this sentence names.", "Which place stands in the given sentence?"),
        say=('The place in "{x}" is "{y}".', 'The sentence "{x}" names the place "{y}".'),
    ),
    Skill(
        "extract_day", "sentences", _visit("day"),
        ask=('Which day is named in "{x}"', 'Find the day in this sentence: "{x}"'),
        ask_input=("Write the day that this sentence names.", "On which day did the given sentence happen?"),
        say=('The day in "{x}" is "{y}".', 'The sentence "{x}" names the day "{y}".'),
    ),
    Skill(
        "extract_number", "sentences", _visit("number"),
        ask=('Which number stands in "{x}"', 'Find the number in this sentence: "{x}"'),
        ask_input=("Write the number in this sentence.", "Which number stands in the given sentence?"),
        say=('The number in "{x}" is "{y}".', 'The sentence "{x}" has the number "{y}".'),
    ),
    Skill(
        "make_negative", "sentences", _state("negative"),
        ask=('Make this sentence negative: "{x}"', 'Write "{x}" with the word not.'),
        ask_input=("Make this sentence negative.", "Write the given sentence with the word not."),
        say=('The negative of "{x}" is "{y}"', 'With not, "{x}" becomes "{y}"'),
    ),
    Skill(
        "make_question", "sentences", _state("question"),
        ask=('Turn this sentence into a question: "{x}"', 'Ask whether "{x}"'),
        ask_input=("Turn this sentence into a question.", "Write the given sentence as a question."),
        say=('As a question, "{x}" is "{y}"', 'The question to "{x}" is "{y}"'),
    ),
    Skill(
        "use_pronoun", "sentences", _state("pronoun"),
        ask=('Replace the name by he or she: "{x}"', 'Write "{x}" with a pronoun for the name.'),
        ask_input=("Replace the name in this sentence by he or she.",
                   "Use a pronoun for the name in the given sentence."),
        say=('With a pronoun, "{x}" is "{y}"', 'Without the name, "{x}" becomes "{y}"'),
    ),
    Skill(
        "to_past", "sentences", _tense("past"),
        ask=('Put this sentence into the past: "{x}"', 'Write "{x}" in the past tense.'),
        ask_input=("Put this sentence into the past tense.", "Write the given sentence in the past."),
        say=('In the past, "{x}" is "{y}"', 'The past of "{x}" is "{y}"'),
    ),
    Skill(
        "to_future", "sentences", _tense("future"),
        ask=('Put this sentence into the future: "{x}"', 'Write "{x}" with will.'),
        ask_input=("Put this sentence into the future tense.", "Write the given sentence with will."),
        say=('In the future, "{x}" is "{y}"', 'The future of "{x}" is "{y}"'),
    ),
    Skill(
        "name_tense", "sentences", _tense("name"),
        ask=('Is this sentence past, present or future: "{x}"', 'Name the tense of "{x}"'),
        ask_input=("Is this sentence past, present or future?", "Name the tense of the given sentence."),
        say=('The tense of "{x}" is "{y}".', 'The sentence "{x}" is in the "{y}".'),
        chance=0.33,
    ),
    Skill(
        "sentiment", "sentences", _review,
        ask=('Is this review positive or negative: "{x}"', 'Classify the feeling of "{x}" as positive or negative.'),
        ask_input=("Is this review positive or negative?", "Classify the sentiment of the given text."),
        say=('The review "{x}" is "{y}".', 'The feeling of "{x}" is "{y}".'),
        chance=0.5,
    ),
    Skill(
        "question_or_statement", "sentences", _question_or_not,
        ask=('Is this a question or a statement: "{x}"', 'Classify "{x}" as question or statement.'),
        ask_input=("Is this a question or a statement?", "Classify the given sentence as question or statement."),
        say=('The sentence "{x}" is the "{y}".', '"{x}" is {a_y}.'),
        chance=0.5,
    ),
    Skill(
        "part_of_speech", "sentences", _part_of_speech,
        ask=('Is "{x}" a noun, a verb or an adjective?', 'Name the part of speech of "{x}".'),
        ask_input=("Is this word a noun, a verb or an adjective?", "Name the part of speech of the given word."),
        say=('The part of speech of "{x}" is "{y}".', 'The word "{x}" is a kind of word called "{y}".'),
        chance=0.33,
    ),
    Skill(
        "is_animal", "sentences", _living,
        ask=('Is "{x}" an animal? Say yes or no.', 'Does the word "{x}" name an animal, yes or no?'),
        ask_input=("Is this an animal? Say yes or no.", "Does the given word name an animal, yes or no?"),
        say=('Is "{x}" an animal? The answer is "{y}".', 'For the animal list, {x}: "{y}".'),
        chance=0.5,
    ),
    Skill(
        "shout", "sentences", _scene(lambda s: s.upper()),
        ask=('Write this sentence in capital letters: "{x}".', 'Put all of "{x}" into upper case.'),
        ask_input=("Write this sentence in capital letters.", "Put the given sentence into upper case."),
        say=('In capital letters, "{x}" is "{y}".', '{who} shouted "{x}" as "{y}".'),
    ),
    Skill(
        "title_case", "sentences", _scene(lambda s: " ".join(word.capitalize() for word in s.split())),
        ask=('Write every word of "{x}" with a capital letter.', 'Turn "{x}" into title case.'),
        ask_input=("Write every word of this sentence with a capital.", "Turn the given sentence into title case."),
        say=('In title case, "{x}" is "{y}".', 'As a title, "{x}" becomes "{y}".'),
    ),
    Skill(
        "exclaim", "sentences", _scene(lambda s: s[0].upper() + s[1:] + "!"),
        ask=('Write "{x}" with a capital letter and an exclamation mark.', 'Make "{x}" an exclamation.'),
        ask_input=("Make this an exclamation with a capital letter.",
                   "Add an exclamation mark and a capital to the given text."),
        say=('As an exclamation, "{x}" is "{y}"', 'With an exclamation mark, "{x}" becomes "{y}"'),
    ),
    Skill(
        "write_greeting", "sentences", _greeting("hello"),
        ask=("Write a greeting for {x}.", "Say hello to {x} in one sentence.", "Greet my guest {x}."),
        ask_input=("Write a greeting for the named person.", "Say hello to this person."),
        say=('A greeting for {x}: "{y}"', '{who} met {x} and said: "{y}"'),
    ),
    Skill(
        "write_thanks", "sentences", _greeting("thanks"),
        ask=("Write a note from {sender} that thanks {x} for the {thing}.",
             "{x} gave {sender} a present, the {thing}. Write the thank-you note."),
        ask_input=("Write a thank-you note with these facts.", "Thank the named person for the gift."),
        say=('{sender} thanked {x} for the {thing}: "{y}"',
             'The thank-you note of {sender} to {x} for the {thing} was "{y}"'),
    ),
    Skill(
        "write_invitation", "sentences", _greeting("invite"),
        ask=("Invite {x} to my party on {day}.", "Write an invitation for {x}; the party is on {day}."),
        ask_input=("Write a party invitation for this person and day.",
                   "Invite the named person to my party on the day."),
        say=('An invitation for {x} on {day}: "{y}"', '{who} wrote to {x} about {day}: "{y}"'),
    ),
    Skill(
        "to_json", "sentences", _person("json"),
        ask=('Write this as JSON with name, age and city: "{x}"', 'Turn "{x}" into a JSON object.'),
        ask_input=("Write this sentence as JSON with name, age and city.",
                   "Turn the given sentence into a JSON object."),
        say=("As JSON, {x}\n{y}\n", "{y}\nsays in JSON: {x}"),
    ),
    Skill(
        "to_csv", "sentences", _person("csv"),
        ask=('Write this as a CSV line with name, age and city: "{x}"', 'Turn "{x}" into one CSV line.'),
        ask_input=("Write this sentence as a CSV line with name, age and city.",
                   "Turn the given sentence into one CSV line."),
        say=("As CSV, {x}\n{y}\n", "{y}\nis the CSV line for: {x}"),
    ),
    Skill(
        "describe_person", "sentences", _person("sentence"),
        ask=("Write one sentence about this person: {x}.", "Turn these facts into a sentence: {x}."),
        ask_input=("Write one sentence with these facts.", "Turn the given facts into a sentence."),
        say=('As a sentence, {x} is "{y}"', 'The facts {x} make the sentence "{y}"'),
    ),
)  # fmt: skip
