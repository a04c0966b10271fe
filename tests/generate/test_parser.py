"""Replies become blocks: as released in `alpaca`, whatever stands around the tasks in `alpaca-fixed`."""

import pytest

from pacos.core.records import Example
from pacos.engines import Reply
from pacos.generate.modes import ALPACA, ALPACA_FIXED, Mode
from pacos.generate.parser import Block, parse_published, parse_tolerant


def reply(text: str, finish_reason: str = "stop") -> Reply:
    return Reply("r", text, finish_reason)  # type: ignore[arg-type]


def examples(blocks: list[Block]) -> list[Example]:
    return [block.example for block in blocks if block.example]


def rules(blocks: list[Block]) -> list[str]:
    return [block.rule for block in blocks if block.rule]


TWO = (
    " Name a fruit that is red.\n4. Input:\n<noinput>\n4. Output:\nApple\n"
    "###\n5. Instruction: Add the two numbers.\n5. Input:\n1 and 2\n5. Output:\n3\n"
)
EXAMPLES = [Example("Name a fruit that is red.", "", "Apple"), Example("Add the two numbers.", "1 and 2", "3")]


@pytest.mark.parametrize("mode", [ALPACA, ALPACA_FIXED])
def test_reads_what_was_asked_for(mode: Mode) -> None:
    blocks = mode.parse(reply(TWO))
    assert [mode.clean(example) for example in examples(blocks)] == EXAMPLES
    assert rules(blocks) == []


@pytest.mark.parametrize("mode", [ALPACA, ALPACA_FIXED])
def test_a_reply_cut_at_its_limit_loses_its_last_block(mode: Mode) -> None:
    blocks = mode.parse(reply(TWO, "length"))
    assert [example.output for example in examples(blocks)] == ["Apple"]
    assert rules(blocks) == ["truncated"]


def test_a_block_needs_its_position_as_number_in_alpaca_only() -> None:
    text = TWO.replace("5.", "7.")
    assert rules(parse_published(reply(text))) == ["malformed"]
    assert len(examples(parse_tolerant(reply(text)))) == 2


def test_hashes_inside_an_output_split_it_in_alpaca_only() -> None:
    text = " Write a short document.\n4. Input:\n<noinput>\n4. Output:\n### Title\nBody\n"
    assert [example.output for example in examples(parse_published(reply(text)))] == [""]
    assert [example.output for example in examples(parse_tolerant(reply(text)))] == ["### Title\nBody"]


@pytest.mark.parametrize(
    "text",
    [
        "4. Instruction:" + TWO,
        "Sure! Here are the tasks:\n\n###\n4. Instruction:" + TWO + "###\n",
        "```\n4. Instruction:" + TWO + "```",
        "Here you go:\n```text\n4. Instruction:" + TWO + "###\n```\n",
        "**4. Instruction:**" + TWO.replace("5. Instruction:", "**5. Instruction:**"),
        ("4. Instruction:" + TWO).replace("4.", "1.").replace("5.", "2."),
        ("Instruction:" + TWO).replace("4. ", "").replace("5. ", ""),
        TWO.replace("4. Input:\n<noinput>\n", ""),
    ],
    ids=["label", "prose", "fence", "prose+fence", "markdown", "restarted", "unnumbered", "no input label"],
)
def test_chat_habits_are_read_all_the_same(text: str) -> None:
    blocks = parse_tolerant(reply(text))
    assert [ALPACA_FIXED.clean(example) for example in examples(blocks)] == EXAMPLES
    assert rules(blocks) == []


def test_a_missing_field_is_malformed() -> None:
    text = TWO.replace("4. Output:\nApple\n", "")
    for mode in (ALPACA, ALPACA_FIXED):
        blocks = mode.parse(reply(text))
        assert rules(blocks) == ["malformed"]
        assert len(examples(blocks)) == 1


def test_text_that_only_looks_like_a_label_stays_text() -> None:
    code = "Input: 5\nOutput: 10\n1. Output: first"
    text = f" Show how the program runs.\n4. Input:\n<noinput>\n4. Output:\n{code}\n"
    assert [example.output for example in examples(parse_tolerant(reply(text)))] == [code]


@pytest.mark.parametrize("text", ["", "I am sorry, I cannot do that.", "<html><body>no</body></html>", "###\n###\n"])
@pytest.mark.parametrize("mode", [ALPACA, ALPACA_FIXED])
def test_prose_gives_no_example(mode: Mode, text: str) -> None:
    assert examples(mode.parse(reply(text))) == []


def test_a_year_before_a_full_stop_survives_in_alpaca_fixed_only() -> None:
    """The released stop "20." ends a reply at "2020."; the mended stop is a whole label at the start of a line."""
    for text in ("It happened in 2020. Then it ended.", "The price is $20. It was $25."):
        assert any(stop in text for stop in ALPACA.stop)
        assert not any(stop in text for stop in ALPACA_FIXED.stop)
