"""Replies become blocks: as released in `alpaca`, whatever stands around the tasks in `alpaca-fixed`."""

import pytest

from pacos.core.records import Example
from pacos.engines import Reply
from pacos.generate.modes import ALPACA, ALPACA_FIXED, SELF_INSTRUCT, Mode
from pacos.generate.parser import Block


def reply(text: str, finish_reason: str = "stop") -> Reply:
    return Reply("r", text, finish_reason)  # type: ignore[arg-type]


def examples(blocks: list[Block]) -> list[Example]:
    return [example for block in blocks for example in block.examples]


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
    assert rules(ALPACA.parse(reply(text))) == ["malformed"]
    assert len(examples(ALPACA_FIXED.parse(reply(text)))) == 2


def test_hashes_inside_an_output_split_it_in_alpaca_only() -> None:
    text = " Write a short document.\n4. Input:\n<noinput>\n4. Output:\n### Title\nBody\n"
    assert [example.output for example in examples(ALPACA.parse(reply(text)))] == [""]
    assert [example.output for example in examples(ALPACA_FIXED.parse(reply(text)))] == ["### Title\nBody"]


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
    blocks = ALPACA_FIXED.parse(reply(text))
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
    assert [example.output for example in examples(ALPACA_FIXED.parse(reply(text)))] == [code]


@pytest.mark.parametrize("text", ["", "I am sorry, I cannot do that.", "<html><body>no</body></html>", "###\n###\n"])
@pytest.mark.parametrize("mode", [ALPACA, ALPACA_FIXED, SELF_INSTRUCT])
def test_prose_gives_no_example(mode: Mode, text: str) -> None:
    assert examples(mode.parse(reply(text))) == []


CLASSIFICATION = (
    " Is the mood of this line good or bad?\n9. Classification: Yes\n"
    "9. Output:\ngood\n9. Input:\nWhat a day!\n9. Output:\nbad\n9. Input:\nIt rained again.\n"
)
OTHER = (
    "###\n10. Instruction: Add the two numbers.\n10. Classification: no\n"
    "10. Input:\n1 and 2\n10. Output:\n3\n10. Input:\n2 and 2\n10. Output:\n4\n"
)


def test_instances_are_read_in_either_order_of_fields() -> None:
    blocks = SELF_INSTRUCT.parse(reply(CLASSIFICATION + OTHER))
    assert [block.is_classification for block in blocks] == [True, False]
    mood = "Is the mood of this line good or bad?"
    assert examples(blocks) == [
        Example(mood, "What a day!", "good"),
        Example(mood, "It rained again.", "bad"),
        Example("Add the two numbers.", "1 and 2", "3"),
        Example("Add the two numbers.", "2 and 2", "4"),
    ]


def test_a_task_without_instances_or_with_half_of_one_is_malformed() -> None:
    half = CLASSIFICATION.removesuffix("9. Input:\nIt rained again.\n") + "9. Classification: yes\n"
    for text in (half, " Name a fruit.\n9. Classification: no\n", " Name a fruit.\n9. Input:\nx\n"):
        assert rules(SELF_INSTRUCT.parse(reply(text))) == ["malformed"]
    assert len(examples(SELF_INSTRUCT.parse(reply(" Name a fruit.\n9. Output:\nApple\n")))) == 1


def test_more_than_five_instances_are_repetition() -> None:
    many = "".join(f"9. Input:\n{n}\n9. Output:\n{n + 1}\n" for n in range(8))
    assert len(examples(SELF_INSTRUCT.parse(reply(f" Add one to it.\n9. Classification: no\n{many}")))) == 5
