"""Skills that change or look into short rows of words."""

import random
from collections.abc import Callable

from pacos.engines.builtin import world
from pacos.engines.builtin.skills.skill import Skill, Slots


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


LISTS = (
    Skill(
        "first_word", "lists", _row(3, 6, lambda row: row[0]),
        ask=('What is the first word of "{x}"?', 'Write the first word in "{x}".', 'With which word does "{x}" begin?'),
        ask_input=("Write the first word of this text.", "With which word does the given text begin?"),
        say=('The first word of "{x}" is "{y}".', 'The words "{x}" begin with "{y}".'),
    ),
    Skill(
        "last_word", "lists", _row(3, 6, lambda row: row[-1]),
        ask=('What is the last word of "{x}"?', 'Write the last word in "{x}".', 'With which word does "{x}" end?'),
        ask_input=("Write the last word of this text.", "With which word does the given text end?"),
        say=('The last word of "{x}" is "{y}".', 'The words "{x}" end with "{y}".'),
    ),
    Skill(
        "second_word", "lists", _row(3, 5, lambda row: row[1]),
        ask=('What is the second word of "{x}"?', 'Write the second word in "{x}".'),
        ask_input=("Write the second word of this text.", "Find the second word in the given text."),
        say=('The second word of "{x}" is "{y}".', 'Second in "{x}" stands "{y}".'),
    ),
    Skill(
        "count_words", "lists", _row(2, 7, lambda row: str(len(row))),
        ask=('How many words are in "{x}"?', 'Count the words in "{x}".'),
        ask_input=("Count the words in this text.", "How many words does the given text have?"),
        say=('The number of words in "{x}" is "{y}".', 'The text "{x}" has {y} words.'),
    ),
    Skill(
        "reverse_words", "lists", _row(3, 4, lambda row: " ".join(reversed(row))),
        ask=('Reverse the order of the words in "{x}".', 'Write the words of "{x}" from last to first.'),
        ask_input=("Reverse the order of these words.", "Write the given words from last to first."),
        say=('In reverse order, "{x}" is "{y}".', 'From last to first, the words "{x}" are "{y}".'),
    ),
    Skill(
        "repeat_word", "lists", _repeat,
        ask=('Write the word "{x}" {n} times.', 'Repeat "{x}" {n} times.'),
        ask_input=("Write this word {n} times.", "Repeat the given word {n} times."),
        say=('Written {n} times, "{x}" is "{y}".', 'The word "{x}" {n} times: "{y}".'),
    ),
    Skill(
        "copy", "lists", _row(3, 6, " ".join),
        ask=('Copy this text: "{x}".', 'Write "{x}" again, just as it is.'),
        ask_input=("Copy this text.", "Write the given text again without a change."),
        say=('A copy of "{x}" is "{y}".', '{who} copied "{x}" and had "{y}".'),
    ),
    Skill(
        "with_commas", "lists", _row(3, 4, ", ".join),
        ask=('Put commas between the words "{x}".', 'Write "{x}" as a list with commas.'),
        ask_input=("Put commas between these words.", "Write the given words as a list with commas."),
        say=('With commas, "{x}" is "{y}".', 'As a list with commas, "{x}" becomes "{y}".'),
    ),
    Skill(
        "with_and", "lists", _row(2, 2, " and ".join),
        ask=('Join the words "{x}" with "and".', 'Put "and" between the words "{x}".'),
        ask_input=('Join these words with "and".', 'Put "and" between the given words.'),
        say=('Joined with and, "{x}" is "{y}".', 'With and between, the words "{x}" are "{y}".'),
    ),
    Skill(
        "with_hyphens", "lists", _row(2, 4, "-".join),
        ask=('Join the words "{x}" with hyphens.', 'Put hyphens between the words "{x}".'),
        ask_input=("Join these words with hyphens.", "Put hyphens between the given words."),
        say=('Joined with hyphens, "{x}" is "{y}".', 'With hyphens between, the words "{x}" are "{y}".'),
    ),
    Skill(
        "snake_case", "lists", _row(2, 4, "_".join),
        ask=('Write "{x}" in snake case.', 'Turn "{x}" into a name with underscores.'),
        ask_input=("Write these words in snake case.", "Turn the given words into a name with underscores."),
        say=('In snake case, "{x}" is "{y}".', 'With underscores, the words "{x}" are "{y}".'),
    ),
    Skill(
        "bullets", "lists", _row(2, 4, lambda row: "\n".join(f"- {word}" for word in row), ", "),
        ask=("Write {x} as a list of bullets.", "Make a bullet list of {x}."),
        ask_input=("Write these things as a list of bullets.", "Make a bullet list of the given things."),
        say=("A bullet list of {x}:\n{y}\n", "{who} wrote {x} as bullets:\n{y}\n"),
    ),
    Skill(
        "numbered_list", "lists",
        _row(2, 4, lambda row: "\n".join(f"{place}. {word}" for place, word in enumerate(row, 1)), ", "),
        ask=("Write {x} as a numbered list.", "Number the things {x}, one a line."),
        ask_input=("Write these things as a numbered list.", "Number the given things, one a line."),
        say=("A numbered list of {x}:\n{y}\n", "{who} numbered {x}:\n{y}\n"),
    ),
    Skill(
        "drop_first", "lists", _row(3, 5, lambda row: " ".join(row[1:])),
        ask=('Remove the first word from "{x}".', 'Write "{x}" without its first word.'),
        ask_input=("Remove the first word from this text.", "Write the given text without its first word."),
        say=('Without its first word, "{x}" is "{y}".', 'Taking the first word from "{x}" leaves "{y}".'),
    ),
    Skill(
        "drop_last", "lists", _row(3, 5, lambda row: " ".join(row[:-1])),
        ask=('Remove the last word from "{x}".', 'Write "{x}" without its last word.'),
        ask_input=("Remove the last word from this text.", "Write the given text without its last word."),
        say=('Without its last word, "{x}" is "{y}".', 'Taking the last word from "{x}" leaves "{y}".'),
    ),
    Skill(
        "replace_word", "lists", _replace,
        ask=('In "{x}", replace {old} by {new}.', 'Change the word {old} to {new} in "{x}".'),
        ask_input=("In this text, replace {old} by {new}.", "Change the word {old} to {new} in the given text."),
        say=('With {new} for {old}, "{x}" is "{y}".', 'Changing {old} to {new} in "{x}" gives "{y}".'),
    ),
    Skill(
        "longest_word", "lists", _longest,
        ask=("Which word is the longest: {x}?", "Find the longest of the words {x}."),
        ask_input=("Write the longest of these words.", "Which of the given words has the most letters?"),
        say=('The longest of the words "{x}" is "{y}".', 'Of "{x}", the longest is "{y}".'),
        chance=0.33,
    ),
    Skill(
        "odd_one_out", "lists", _odd_one,
        ask=("Which word does not belong: {x}?", "Find the odd one out among {x}."),
        ask_input=("Which of these words does not belong?", "Find the odd one out among the given words."),
        say=('The odd one out among "{x}" is "{y}".', 'In "{x}", the word "{y}" does not belong.'),
        chance=0.25,
    ),
    Skill(
        "contains_word", "lists", _contains,
        ask=('Does "{x}" contain the word {w}? Say yes or no.', 'Is the word {w} in "{x}"? Say yes or no.'),
        ask_input=("Does this text contain the word {w}? Say yes or no.",
                   "Is the word {w} in the given text, yes or no?"),
        say=('Is {w} in "{x}"? The answer is "{y}".', 'Looking for {w} in "{x}": "{y}".'),
        chance=0.5,
    ),
    Skill(
        "initials", "lists", _row(3, 4, lambda row: "".join(word[0].upper() for word in row)),
        ask=('Make an acronym from the words "{x}".', 'Write the first letters of "{x}" as capitals.'),
        ask_input=("Make an acronym from these words.", "Write the first letters of the given words as capitals."),
        say=('The acronym of "{x}" is "{y}".', 'The first letters of "{x}" make "{y}".'),
    ),
    Skill(
        "swap_two", "lists", _row(2, 2, lambda row: f"{row[1]} {row[0]}"),
        ask=('Swap the two words "{x}".', 'Change the places of the words in "{x}".'),
        ask_input=("Swap these two words.", "Change the places of the given two words."),
        say=('Swapped, the words "{x}" are "{y}".', 'With places changed, "{x}" becomes "{y}".'),
    ),
    Skill(
        "in_quotes", "lists", _row(2, 4, lambda row: '"' + " ".join(row) + '"'),
        ask=("Put quotation marks around these words: {x}.", "Write {x} in quotation marks."),
        ask_input=("Put quotation marks around this text.", "Write the given text in quotation marks."),
        say=("In quotation marks, the text {x} is\n{y}\n", "{y} is {x} with quotation marks."),
    ),
    Skill(
        "in_brackets", "lists", _row(2, 4, lambda row: "(" + " ".join(row) + ")"),
        ask=('Put round brackets around "{x}".', 'Write "{x}" in brackets.'),
        ask_input=("Put round brackets around this text.", "Write the given text in brackets."),
        say=('In brackets, "{x}" is "{y}".', "{y} is {x} in brackets."),
    ),
)  # fmt: skip
