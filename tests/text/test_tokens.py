"""Words, colons, sentence ends and opening signs are those of every script."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacos.text import unicode_tokens
from pacos.text.tokens import COLONS, QUESTION_MARKS, SENTENCE_ENDS, may_begin_sentence, num_words

# The first article of the Universal Declaration of Human Rights: thirty words in English.
ARTICLE = {
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience "
    "and should act towards one another in a spirit of brotherhood.",
    "zh": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "ja": "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。"
    "人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ",
    "km": "មនុស្សទាំងអស់ កើតមកមានសេរីភាព និងសមភាព ក្នុងផ្នែកសេចក្ដីថ្លៃថ្នូរនិងសិទ្ធិ។ មនុស្ស "
    "មានវិចារណញ្ញាណនិងសតិសម្បជញ្ញៈជាប់ពីកំណើត ហើយគប្បីប្រព្រឹត្ដចំពោះគ្នាទៅវិញទៅមក ក្នុងស្មារតីភាតរភាពជាបងប្អូន។",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y "
    "conciencia, deben comportarse fraternalmente los unos con los otros.",
}


@pytest.mark.parametrize("language", ARTICLE)
def test_the_same_text_has_about_as_many_words_in_every_script(language: str) -> None:
    assert 22 <= num_words(ARTICLE[language]) <= 38


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_words_of_ascii_are_what_stands_between_blanks(text: str) -> None:
    assert num_words(text) == len(text.split())


@given(st.text())
def test_any_text_can_be_measured(text: str) -> None:
    assert num_words(text) >= 0
    assert may_begin_sentence(text) in (True, False)


def test_a_word_beside_ideographs_stays_a_word() -> None:
    assert unicode_tokens("使用Python 3编写") == ["使", "用", "python", "3", "编", "写"]
    # Signs that nobody sees do not tell words apart.
    assert unicode_tokens("می\u200cخواهم co\u00adoperate") == ["میخواهم", "cooperate"]
    assert num_words("ሰላም፡ለዓለም፡ሁሉ") == 3


def test_signs_are_those_of_unicode() -> None:
    assert all("COLON" in unicodedata.name(sign) for sign in set(COLONS) - {"∶"})
    punctuation = [sign for sign in map(chr, range(0x1F000)) if unicodedata.category(sign) == "Po"]
    for sign in punctuation:
        name = unicodedata.name(sign)
        if (
            name.endswith("COLON")
            and "SEMI" not in name
            and "TRICOLON" not in name
            and name[:5] not in ("CUNEI", "SIGNW")
        ):
            assert sign in COLONS, name
        if name in ("IDEOGRAPHIC FULL STOP", "ARABIC FULL STOP", "DEVANAGARI DANDA", "FULLWIDTH EXCLAMATION MARK"):
            assert sign in SENTENCE_ENDS
    assert all("QUESTION" in unicodedata.name(sign) or sign == "⁈" for sign in QUESTION_MARKS)


def test_every_opening_bracket_and_quotation_mark_begins_a_sentence() -> None:
    for sign in map(chr, range(0x110000)):
        category = unicodedata.category(sign)
        if category in ("Ps", "Pi", "Pf", "Sc"):
            assert may_begin_sentence(f"{sign}a"), hex(ord(sign))
        elif category in ("Pe", "Pd", "Pc", "Zs") and not unicodedata.normalize("NFKC", sign)[:1].isalnum():
            assert not may_begin_sentence(f"{sign}a"), hex(ord(sign))
