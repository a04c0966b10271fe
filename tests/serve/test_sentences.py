"""Holding back loses nothing, changes nothing and ends at sentences."""

from hypothesis import given
from hypothesis import strategies as st

from pacos.serve.sentences import MAX_HELD_CHARACTERS, SentenceBuffer

TEXTS = st.text(st.sampled_from("ab .!?\n\"')。3"), max_size=200)


@given(st.lists(TEXTS, max_size=20))
def test_nothing_is_lost_and_little_is_held(pieces: list[str]) -> None:
    buffer = SentenceBuffer()
    out = ""
    for i, piece in enumerate(pieces):
        out += buffer.add(piece)
        assert len("".join(pieces[: i + 1])) - len(out) < MAX_HELD_CHARACTERS
    assert out + buffer.rest() == "".join(pieces)
    assert buffer.rest() == ""


@given(TEXTS)
def test_what_is_let_go_ends_a_sentence_or_line(text: str) -> None:
    buffer = SentenceBuffer()
    for character in text:
        ready = buffer.add(character)
        assert ready == "" or ready[-1] in " \n。"


def test_a_number_is_not_the_end_of_a_sentence() -> None:
    buffer = SentenceBuffer()
    assert [buffer.add(piece) for piece in ("Pi is 3.", "14", ". ", "Is", " it? ")] == [
        "",
        "",
        "Pi is 3.14. ",
        "",
        "Is it? ",
    ]


def test_quotes_go_with_their_sentence() -> None:
    assert SentenceBuffer().add('He said "no." Then') == 'He said "no." '


def test_endless_word_is_let_go() -> None:
    assert len(SentenceBuffer().add("x" * 1000)) == 1000
