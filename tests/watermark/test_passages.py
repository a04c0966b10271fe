"""A marked passage among other text, and what looking for it may cost."""

import random

import numpy as np
import pytest

from pacos.watermark import Watermark
from pacos.watermark.detection import search_passages, summarise

GAMMA = 0.25


def drawn(draw: np.random.Generator, *parts: tuple[int, float]) -> np.ndarray:
    """So many tokens, each green with that chance, part by part."""
    return np.concatenate([draw.random(length) < share for length, share in parts])


def searched(green: np.ndarray):
    return search_passages(summarise(green, np.ones(len(green), dtype=bool), GAMMA))


@pytest.mark.parametrize("length", [40, 200, 1000])
def test_unmarked_text_has_small_p_values_no_more_often_than_they_say(length: int) -> None:
    draw = np.random.default_rng(length)
    p_values = np.array([searched(drawn(draw, (length, GAMMA))).exact_p_value for _ in range(3000)])
    for level in (0.001, 0.01, 0.1):
        # Four standard errors above what is promised.
        assert (p_values <= level).mean() <= level + 4 * (level / len(p_values)) ** 0.5


def test_a_passage_is_found_where_it_is_and_the_whole_text_alone_would_miss_it() -> None:
    draw = np.random.default_rng(1)
    overlaps = []
    for _ in range(50):
        found = searched(drawn(draw, (700, GAMMA), (150, 0.6), (900, GAMMA)))
        assert found.verdict == "watermarked"
        assert found.is_in_passage
        inside = min(found.passage.end, 850) - max(found.passage.start, 700)
        overlaps.append(inside / (max(found.passage.end, 850) - min(found.passage.start, 700)))
    assert np.median(overlaps) > 0.8


def test_a_text_marked_throughout_is_not_called_a_passage() -> None:
    found = searched(drawn(np.random.default_rng(2), (400, 0.6)))
    assert found.verdict == "watermarked"
    assert not found.is_in_passage
    assert found.passage.tried == 81


def test_a_short_text_is_looked_at_as_a_whole_only_and_repeats_count_once() -> None:
    mark, draw = Watermark("lefthash", 300), random.Random(0)
    short = mark.detect([draw.randrange(300) for _ in range(30)])
    assert search_passages(short) == short
    words = [draw.randrange(300) for _ in range(20)]
    # Nineteen pairs, and one where the text begins anew, however often it is repeated.
    assert search_passages(mark.detect(words * 50)).passage is None
