"""Figures tell what is in the data."""

import pytest

from pacos.core.records import Example
from pacos.generate.figures import EDGES, diversity, histogram, verb_and_object, yield_over_time
from pacos.generate.report import ObjectCount


@pytest.mark.parametrize(
    ("instruction", "pair"),
    [
        ("Write a short poem about the sea.", ("write", "poem")),
        ("Please explain the following concept.", ("explain", "concept")),
        ("Can you translate this sentence?", ("translate", "sentence")),
        ("What is the capital of France?", None),
        ("Listen!", None),
        ("I am learning English. Name a fruit that is red.", ("name", "fruit")),
        ("Tokyo is large. Thank you. Compare it with a village.", ("compare", "village")),
        ("My son asks this. Which city is larger? Name the city.", None),
        ("Do not explain. Translate the word.", ("translate", "word")),
        ("Describe how a bee flies.", ("describe", "bee")),
        ("Come up with a unique name.", ("come", "name")),
        ("Let us practise spelling. Spell the word.", ("spell", "word")),
        ("A poem would be nice", None),
        ("", None),
    ],
)
def test_verb_and_object(instruction: str, pair: tuple[str, str] | None) -> None:
    assert verb_and_object(instruction) == pair


def test_diversity_counts_every_instruction_once() -> None:
    texts = ["Write a poem.", "Write a poem now.", "Write an essay.", "Explain gravity.", "Why is it so?"]
    figures = diversity([Example(text, "", "x") for text in texts])
    assert figures.instructions == 5
    assert figures.questions == 1
    assert figures.with_verb_and_object == 4
    assert diversity([Example("We are curious. What is rain?", "", "x")]).questions == 1
    assert figures.verbs[0].verb == "write"
    assert figures.verbs[0].objects == [ObjectCount("poem", 2), ObjectCount("essay", 1)]


def test_yield_ends_with_the_last_reply() -> None:
    assert yield_over_time([]) == []
    assert yield_over_time([3, 5])[-1] == (2, 5)
    points = yield_over_time(list(range(1, 1001)))
    assert len(points) == 100
    assert points[-1] == (1000, 1000)


def test_a_score_on_an_edge_counts_above_it() -> None:
    """0.15 and 0.7 are no exact floats, and neither are the edges: all of them fall to the same side."""
    scores = [numerator / 20 for numerator in range(21)] + [2 * 3 / 40, 0.7000000000000001, 0.6999999999999999]
    counts = histogram(scores)
    assert counts == [1] * 3 + [2] + [1] * 10 + [3] + [1] * 4 + [2]
    assert len(EDGES) == len(counts) + 1
