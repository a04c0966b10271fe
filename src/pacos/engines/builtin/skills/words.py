"""Skills about single words: forms, opposites, translations, letters."""

import random
from collections.abc import Callable

from pacos.engines.builtin import world
from pacos.engines.builtin.skills.skill import Skill, Slots, fact

LETTER_WORDS = tuple(dict.fromkeys(world.NOUNS + world.ADJECTIVES))


def _word(answer: str) -> Callable[[random.Random], Slots]:
    """Draws a common word and answers by one of the letter rules below."""
    rules: dict[str, Callable[[str], str]] = {
        "spell": "-".join,
        "first": lambda word: word[0],
        "last": lambda word: word[-1],
        "count": lambda word: str(len(word)),
        "upper": str.upper,
        "capital": str.capitalize,
        "backwards": lambda word: word[::-1],
        "article": lambda word: world.with_article(word).split()[0],
    }

    def draw(rng: random.Random) -> Slots:
        word = rng.choice(LETTER_WORDS)
        return {"x": word, "y": rules[answer](word)}

    return draw


def _both_ways(pairs: dict[str, str]) -> dict[str, str]:
    return pairs | {value: key for key, value in pairs.items() if value not in pairs}


WORDS = (
    Skill(
        "opposite", "words", fact(_both_ways(world.OPPOSITES)),
        ask=('What is the opposite of "{x}"?', 'Name the opposite of the word "{x}".', 'Write the antonym of "{x}".',
             'Turn "{x}" into its opposite.'),
        ask_input=("Write the opposite of this word.", "Give the antonym of the given word."),
        say=('The opposite of "{x}" is "{y}".', '"{y}" is the opposite of "{x}".', "{y} is the opposite of {x}.",
             "It was not {x}, it was the opposite: {y}."),
    ),
    Skill(
        "synonym", "words", fact(world.SYNONYMS),
        ask=('Give another word for "{x}".', 'Write a synonym of "{x}".', 'Which word means the same as "{x}"?'),
        ask_input=("Write a synonym of this word.", "Give another word with the same meaning."),
        say=('Another word for "{x}" is "{y}".', '"{x}" means the same as "{y}".', 'A synonym of "{x}" is "{y}".',
             "{y} is another word for {x}."),
    ),
    Skill(
        "plural", "words", fact(world.PLURALS),
        ask=('What is the plural of "{x}"?', 'Write the plural form of "{x}".', 'Make the noun "{x}" plural.',
             'One {x}, two of them: write the plural.'),
        ask_input=("Write the plural of this noun.", "Make the given noun plural."),
        say=('The plural of "{x}" is "{y}".', "One {x}, two {y}.", "{y} is the plural of {x}.",
             'First there was the "{x}", then many "{y}".'),
    ),
    Skill(
        "singular", "words", fact({many: one for one, many in world.PLURALS.items() if one != many}),
        ask=('What is the singular of "{x}"?', 'Write the singular form of "{x}".', 'Make the noun "{x}" singular.'),
        ask_input=("Write the singular of this noun.", "Make the given plural noun singular."),
        say=('The singular of "{x}" is "{y}".', "{y} is the singular of {x}.",
             'Of the many "{x}", one "{y}" was left.'),
    ),
    Skill(
        "past_tense", "words", fact(world.PAST_TENSES),
        ask=('What is the past tense of "{x}"?', 'Put the verb "{x}" into the past tense.',
             'Write the past form of "{x}".'),
        ask_input=("Write the past tense of this verb.", "Put the given verb into the past."),
        say=('The past tense of "{x}" is "{y}".', 'Today they "{x}", yesterday they "{y}".',
             "{y} is the past tense of {x}."),
    ),
    Skill(
        "ing_form", "words", fact(world.PARTICIPLES),
        ask=('What is the -ing form of "{x}"?', 'Add -ing to the verb "{x}".', 'Write "{x}" with the ending -ing.'),
        ask_input=("Write the -ing form of this verb.", "Put the ending -ing on the given verb."),
        say=('The -ing form of "{x}" is "{y}".', 'They like to "{x}" and they are "{y}".',
             "{y} is the -ing form of {x}."),
    ),
    Skill(
        "comparative", "words", fact(world.COMPARATIVES),
        ask=('What is the comparative of "{x}"?', 'Write the comparative form of "{x}".',
             'Compare two things with "{x}": one form.'),
        ask_input=("Write the comparative of this adjective.", "Give the comparative form of the given adjective."),
        say=('The comparative of "{x}" is "{y}".', 'This one is "{x}", that one is "{y}".',
             "{y} is the comparative of {x}."),
    ),
    Skill(
        "superlative", "words", fact(world.SUPERLATIVES),
        ask=('What is the superlative of "{x}"?', 'Write the superlative form of "{x}".',
             'Which form of "{x}" names the most of all?'),
        ask_input=("Write the superlative of this adjective.", "Give the superlative form of the given adjective."),
        say=('The superlative of "{x}" is "{y}".', 'Many are "{x}", but one is the "{y}".',
             "{y} is the superlative of {x}."),
    ),
    Skill(
        "adverb", "words", fact(world.ADVERBS),
        ask=('What is the adverb of "{x}"?', 'Turn the adjective "{x}" into an adverb.', 'Write "{x}" as an adverb.'),
        ask_input=("Turn this adjective into an adverb.", "Write the adverb for the given adjective."),
        say=('The adverb of "{x}" is "{y}".', 'The "{x}" person works "{y}".', "{y} is the adverb of {x}."),
    ),
    Skill(
        "female_word", "words", fact(world.GENDERS),
        ask=('What is the female word for "{x}"?', 'Write the female form of "{x}".',
             'If a man is the "{x}", what is a woman called?'),
        ask_input=("Write the female word for this.", "Give the female form of the given word."),
        say=('The female word for "{x}" is "{y}".', 'The man is the "{x}", the woman is the "{y}".',
             "{y} is the female word for {x}."),
    ),
    Skill(
        "to_spanish", "words", fact(world.SPANISH),
        ask=('How do you say "{x}" in Spanish?', 'Translate "{x}" into Spanish.', 'Write the Spanish word for "{x}".'),
        ask_input=("Translate this word into Spanish.", "Write the Spanish for the given word."),
        say=('The Spanish word for "{x}" is "{y}".', 'In Spanish, "{x}" is "{y}".', "{y} is Spanish for {x}."),
    ),
    Skill(
        "to_french", "words", fact(world.FRENCH),
        ask=('How do you say "{x}" in French?', 'Translate "{x}" into French.', 'Write the French word for "{x}".'),
        ask_input=("Translate this word into French.", "Write the French for the given word."),
        say=('The French word for "{x}" is "{y}".', 'In French, "{x}" is "{y}".', "{y} is French for {x}."),
    ),
    Skill(
        "from_spanish", "words", fact({there: here for here, there in world.SPANISH.items()}),
        ask=('What does the Spanish word "{x}" mean in English?', 'Translate the Spanish word "{x}" into English.'),
        ask_input=("Translate this Spanish word into English.", "What is the given Spanish word in English?"),
        say=('The English word for the Spanish "{x}" is "{y}".', 'In English, the Spanish word "{x}" is "{y}".'),
    ),
    Skill(
        "contract", "words", fact(world.CONTRACTIONS),
        ask=('Write "{x}" as a contraction.', 'What is the short form of "{x}"?', 'Shorten "{x}" with an apostrophe.'),
        ask_input=("Write this as a contraction.", "Shorten the given words with an apostrophe."),
        say=('The short form of "{x}" is "{y}".', '"{y}" is short for "{x}".', 'With an apostrophe, "{x}" is "{y}".'),
    ),
    Skill(
        "expand", "words", fact({short: full for full, short in world.CONTRACTIONS.items()}),
        ask=('Write "{x}" in full.', 'What is the long form of "{x}"?', 'Expand the contraction "{x}".'),
        ask_input=("Write this contraction in full.", "Expand the given contraction."),
        say=('The long form of "{x}" is "{y}".', '"{y}" is the full form of "{x}".', 'In full, "{x}" is "{y}".'),
    ),
    Skill(
        "article", "words", _word("article"),
        ask=('Which article goes before "{x}", a or an?', 'Choose a or an for the word "{x}".',
             'Does "{x}" take a or an?'),
        ask_input=("Choose a or an for this word.", "Which article fits the given word, a or an?"),
        say=('The article of "{x}" is "{y}".', 'Before "{x}" we write "{y}".'),
        chance=0.5,
    ),
    Skill(
        "spell", "words", _word("spell"),
        ask=('Spell the word "{x}" with hyphens.', 'Write the letters of "{x}" with a hyphen between them.',
             'How is "{x}" spelled, letter by letter?'),
        ask_input=("Spell this word with hyphens.", "Write the letters of the given word with hyphens."),
        say=('"{x}" is spelled "{y}".', 'The word "{x}" has the letters "{y}".', "{y} spells {x}."),
    ),
    Skill(
        "first_letter", "words", _word("first"),
        ask=('What is the first letter of "{x}"?', 'With which letter does "{x}" begin?',
             'Write the letter that starts "{x}".'),
        ask_input=("Write the first letter of this word.", "With which letter does the given word begin?"),
        say=('The first letter of "{x}" is "{y}".', 'The word "{x}" begins with "{y}".',
             "{y} is the first letter of {x}."),
    ),
    Skill(
        "last_letter", "words", _word("last"),
        ask=('What is the last letter of "{x}"?', 'With which letter does "{x}" end?',
             'Write the letter at the end of "{x}".'),
        ask_input=("Write the last letter of this word.", "With which letter does the given word end?"),
        say=('The last letter of "{x}" is "{y}".', 'The word "{x}" ends with "{y}".', "{y} is the last letter of {x}."),
    ),
    Skill(
        "count_letters", "words", _word("count"),
        ask=('How many letters are in "{x}"?', 'Count the letters of "{x}".',
             'Write how long the word "{x}" is in letters.'),
        ask_input=("Count the letters of this word.", "How many letters does the given word have?"),
        say=('The word "{x}" has {y} letters.', 'The number of letters in "{x}" is "{y}".', "{y} letters make {x}."),
    ),
    Skill(
        "upper_word", "words", _word("upper"),
        ask=('Write "{x}" in capital letters.', 'Put the word "{x}" into upper case.',
             'Make every letter of "{x}" a capital.'),
        ask_input=("Write this word in capital letters.", "Put the given word into upper case."),
        say=('In capital letters, "{x}" is "{y}".', "{y} is {x} in upper case.",
             'On the sign "{x}" was written as "{y}".'),
    ),
    Skill(
        "capitalize", "words", _word("capital"),
        ask=('Write "{x}" with a capital first letter.', 'Make only the first letter of "{x}" a capital.'),
        ask_input=("Write this word with a capital first letter.", "Capitalise the first letter of the given word."),
        say=('With a capital first letter, "{x}" is "{y}".', "{y} is {x} with a capital.",
             'At the start of a line "{x}" becomes "{y}".'),
    ),
    Skill(
        "word_backwards", "words", _word("backwards"),
        ask=('Write the word "{x}" backwards.', 'Reverse the letters of "{x}".', 'Read "{x}" from right to left.'),
        ask_input=("Write this word backwards.", "Reverse the letters of the given word."),
        say=('Backwards, the word "{x}" is "{y}".', 'The letters of "{x}" in reverse are "{y}".',
             "{y} is {x} backwards."),
    ),
)  # fmt: skip
