"""Each rule rejects what it names, and nothing in the released data breaks a rule of `alpaca`."""

import pytest

from pacos.core.records import Example
from pacos.generate.filters import FIXED_RULES, PUBLISHED_RULES, first_broken, normalise_input

GOOD = Example("Name three fruits that are red.", "", "Apple, cherry, strawberry.")


def changed(instruction: str = GOOD.instruction, input: str = GOOD.input, output: str = GOOD.output) -> Example:
    return Example(instruction, input, output)


@pytest.mark.parametrize(
    ("rule", "example"),
    [
        ("too_short", changed("Name three fruits.")),
        ("too_long", changed("word " * 151)),
        ("blacklist_word", changed("Draw a tree with many leaves.")),
        ("blacklist_word", changed("Tell me to GO TO the nearest shop.")),
        ("write_a_program", changed("Write a program that adds numbers.")),
        ("bad_first_character", changed("- name three fruits that are red")),
    ],
)
def test_rules_of_both_modes(rule: str, example: Example) -> None:
    assert first_broken(example, PUBLISHED_RULES) == rule
    assert first_broken(example, FIXED_RULES) == rule


@pytest.mark.parametrize(
    ("rule", "example"),
    [
        ("empty_output", changed(output=" ")),
        ("empty_output", changed(output="<nooutput>")),
        ("empty_output", changed(output="No output")),
        ("empty_output", changed(output="No output required")),
        ("empty_output", changed(output="<noinput>")),
        ("empty_output", changed(input="N/A", output="N/A")),
        ("merged_record", changed(output="Apple\n5. Instruction: Name a city")),
        ("merged_record", changed(input="x\n5. Instruction: Name a city")),
        ("merged_record", changed(output="Apple\n###\n5. Name a city")),
        ("output_equals_input", changed(input="the very same text", output=" the very same text ")),
        ("output_equals_input", changed(output=GOOD.instruction)),
        ("url_input", changed(input="https://example.com/article")),
        ("url_input", changed(input="Article 1: https://example.com/a\n\nArticle 2: https://example.com/b")),
        ("url_input", changed(input='![alt text](https://example.com/cat.png "A cat")')),
        ("url_input", changed("Summarize the content of this URL for me.", "https://example.com/article")),
    ],
)
def test_rules_over_the_whole_record(rule: str, example: Example) -> None:
    assert first_broken(example, PUBLISHED_RULES) is None
    assert first_broken(example, FIXED_RULES) == rule


@pytest.mark.parametrize(
    "example",
    [
        GOOD,
        changed("Photograph, imagery and mapping are nouns; name the verbs."),
        changed("请写一首关于春天的短诗"),
        changed("¿Cuál es la capital de España hoy?"),
        changed('"To be or not to be" was written by whom?'),
        changed(output="None"),
        changed("Generate an output for this.", "Instruction: Name a city\nInput: France"),
        changed("Find the domain of the given URL.", "https://docs.example.com/document"),
        changed("Write this text in capital letters.", "a lamp on a desk", "A LAMP ON A DESK"),
        changed("Write the plural of this noun.", "fish", "fish"),
        changed(output="### Heading\n\n1. Output of the mill\n2. Input"),
        changed(input="Read https://example.com/a and say what the words after it mean to a child."),
    ],
)
def test_good_records_pass(example: Example) -> None:
    assert first_broken(example, FIXED_RULES) is None


@pytest.mark.parametrize(
    "text",
    [
        "<noinput>",
        "<No Input>",
        "no input",
        "N/A",
        "None.",
        "[none]",
        "-",
        "",
        '"<noinput>"',
        "\\<noinput\\>",
        "No input required.",
    ],
)
def test_every_spelling_of_no_input_becomes_empty(text: str) -> None:
    assert normalise_input(changed(input=text)).input == ""


def test_words_of_an_input_are_left_alone() -> None:
    assert normalise_input(changed(input="None of them came.")).input == "None of them came."
