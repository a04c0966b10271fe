"""Porter's stemmer is NLTK's, word for word."""

from hypothesis import example, given
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer

from pacos.text.stemming import stem

NLTK = PorterStemmer()
ENDS = (
    "ational", "tional", "enci", "alli", "fulli", "logi", "ed", "ing", "s", "es", "ies", "ied", "eed", "y", "ee",
    "ement", "ion", "ll", "e", "ss", "bli", "ization", "ousness", "ative", "al", "ism", "ating", "bled", "rrring",
)  # fmt: skip
WORDS = st.builds("".join, st.tuples(st.text("abcdeilmnosyz0", max_size=6), st.sampled_from(["", *ENDS])))


@given(WORDS)
@example("geologi")
@example("skies")
@example("proceed")
@example("rationalli")
def test_it_is_nltks(word: str) -> None:
    assert stem(word) == NLTK.stem(word)
