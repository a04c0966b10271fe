"""Skills about single words: forms, opposites, translations, letters."""

import random
from collections.abc import Callable

from pacos.engines.builtin import world
from pacos.engines.builtin.skills.skill import Slots, fact

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


WORDS = {
    "opposite": fact(_both_ways(world.OPPOSITES)),
    "synonym": fact(world.SYNONYMS),
    "plural": fact(world.PLURALS),
    "singular": fact({many: one for one, many in world.PLURALS.items() if one != many}),
    "past_tense": fact(world.PAST_TENSES),
    "ing_form": fact(world.PARTICIPLES),
    "comparative": fact(world.COMPARATIVES),
    "superlative": fact(world.SUPERLATIVES),
    "adverb": fact(world.ADVERBS),
    "female_word": fact(world.GENDERS),
    "to_spanish": fact(world.SPANISH),
    "to_french": fact(world.FRENCH),
    "from_spanish": fact({there: here for here, there in world.SPANISH.items()}),
    "contract": fact(world.CONTRACTIONS),
    "expand": fact({short: full for full, short in world.CONTRACTIONS.items()}),
    "article": _word("article"),
    "spell": _word("spell"),
    "first_letter": _word("first"),
    "last_letter": _word("last"),
    "count_letters": _word("count"),
    "upper_word": _word("upper"),
    "capitalize": _word("capital"),
    "word_backwards": _word("backwards"),
}
