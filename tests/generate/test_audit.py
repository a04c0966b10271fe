"""The audit finds the known defects of the released data, and what is wrong with a file made to be wrong."""

import gzip
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from pacos.core.records import Example, read_examples, write_examples
from pacos.generate.audit import THRESHOLD, audit, stop_at_20
from pacos.generate.defects import CHECKS
from pacos.generate.filters import PUBLISHED_RULES

GOOD = Example("Name three fruits that are red.", "", "Apple, cherry, strawberry.")
FIND = {check.name: check.find for check in CHECKS}
TRUTH = Path(__file__).parents[2] / "benchmarks" / "audit_truth.json"


def changed(instruction: str = GOOD.instruction, input: str = GOOD.input, output: str = GOOD.output) -> Example:
    return Example(instruction, input, output)


def numbered(last: int) -> str:
    return "\n".join(f"{number}. a thing" for number in range(1, last + 1))


WRONG = [
    ("no_input_spelling", changed(input='"<noinput>"')),
    ("leaked_marker", changed(input="The boy <noinput> the ball.")),
    ("leaked_marker", changed(output="<noinput>\nA title for the story")),
    ("placeholder_input", changed("Describe this photo.", "[Photo of a bridge]")),
    ("placeholder_input", changed("Describe this photo.", "attached photo")),
    ("placeholder_output", changed("Design a mark for a bakery.", output="[Insert logo here]")),
    ("refusal", changed(output="<nooutput> This task needs a picture.")),
    ("refusal", changed(output="Sorry, this task cannot be done by the model.")),
    ("refusal", changed(output="I'm sorry, but as an AI language model I do not eat fruit.")),
    ("list_stops_at_19", changed(output=numbered(19))),
    ("list_stops_at_19", changed(output=numbered(19).replace("\n", " "))),
    ("ends_in_20", changed(output="The last time that it was counted was in 20")),
    ("ends_in_20", changed(output="He came into office on March 3rd, 20")),
    ("cut_output", changed(output="Ten of them at two dollars each cost $")),
    ("cut_output", changed(output="The sum of 14 and 6 is equal to")),
    ("lost_formatting", changed("Replace the underlined word with a synonym.", "The cat was happy.")),
    ("missing_input", changed("Summarize the following article.", output="It says a lot.")),
    ("wrong_arithmetic", changed("Calculate 4 + 3 x 2.", output="The result is 14.")),
    ("wrong_arithmetic", changed("What is 1,200 divided by 7?", output="170.5")),
    ("wrong_arithmetic", changed("Evaluate this expression.", "(5+7)*3", "60")),
    ("stray_number", changed(output="Apple and cherry are red.\n14.")),
    ("split_word", changed("N ame three fruits that are red.")),
]
SOUND = [
    ("no_input_spelling", changed(input="None of them came.")),
    ("leaked_marker", changed(output="Put the plug into the input socket.")),
    ("placeholder_input", changed(input="[3, 1, 2]")),
    ("placeholder_input", changed(input="The article is about bridges.")),
    ("placeholder_output", changed(output='<img src="bridge.png">')),
    ("placeholder_output", changed(output='{"text": "a bridge"}')),
    ("refusal", changed(output="I am sorry for being late; it will not happen again.")),
    ("list_stops_at_19", changed(output=numbered(18))),
    ("list_stops_at_19", changed(output=numbered(20))),
    ("list_stops_at_19", changed(output="It was built by the Romans in the year 19.")),
    ("ends_in_20", changed(output="2, 4, 6, 8, 10, 12, 14, 16, 18, 20")),
    ("ends_in_20", changed(output="#Vote2020")),
    ("cut_output", changed(output="The right word here is\nand")),
    ("cut_output", changed(output="def add(a, b): return a is")),
    ("lost_formatting", changed("Replace the underlined word with a synonym.", "The cat was _happy_.")),
    ("lost_formatting", changed("Make every verb in the text bold.", "The cat was happy.")),
    ("missing_input", changed("Summarize the following article.", "Bridges are long.")),
    ("missing_input", changed("Summarize the following article: bridges are long.")),
    ("missing_input", changed("Write a function that reverses the given string.")),
    ("wrong_arithmetic", changed("Calculate 4 + 3 x 2.", output="4 + 3 x 2 is 10.")),
    ("wrong_arithmetic", changed("What is 20 divided by 3?", output="6.67")),
    ("wrong_arithmetic", changed("Add 3/4 and 1/8.", output="7/8")),
    ("wrong_arithmetic", changed("Find the sum of all odd numbers from 1-50.", output="625")),
    ("stray_number", changed(output="The answer is\n42")),
    ("split_word", changed("A cat and a dog meet: tell the story.")),
    *((rule.name, changed("请写一首关于春天的短诗", "", "春天来了")) for rule in PUBLISHED_RULES),
]


@pytest.mark.parametrize(("check", "example"), WRONG)
def test_check_gives_its_evidence(check: str, example: Example) -> None:
    assert FIND[check](example)


def test_evidence_that_is_cut_says_so() -> None:
    words = "Many words of one text. " * 9
    evidence = {
        (before, after): FIND["leaked_marker"](
            changed(input=f"{words * before}See <noinput> there.{(' ' + words) * after}")
        )
        for before in (0, 1)
        for after in (0, 1)
    }
    assert evidence[0, 0] == "See <noinput> there."
    for (before, after), text in evidence.items():
        assert (text.startswith("…"), text.endswith("…")) == (bool(before), bool(after))
        assert "See <noinput> there." in text


@pytest.mark.parametrize(("check", "example"), SOUND)
def test_check_leaves_sound_records_alone(check: str, example: Example) -> None:
    assert FIND[check](example) == ""


def test_results_computed_right_are_never_called_wrong() -> None:
    rng = random.Random(5)
    for _ in range(500):
        a, b, c = (rng.randint(1, 999) for _ in range(3))
        sum_ = f"{a} + {b} x {c}"
        assert FIND["wrong_arithmetic"](changed(f"Calculate {sum_}.", output=f"{a + b * c:,}")) == ""
        assert FIND["wrong_arithmetic"](changed(f"Calculate {sum_}.", output=str(a + b * c + 1)))
        assert FIND["wrong_arithmetic"](changed(f"Divide {a} by {b}.", output=f"It is {a / b:.3f}.")) == ""


@pytest.fixture(scope="module")
def released(shared_data: Path) -> list[Example]:
    return read_examples(shared_data / "alpaca" / "alpaca_data.json")


@pytest.fixture(scope="module")
def flagged(released: list[Example]) -> dict[str, dict[int, str]]:
    """Record numbers and evidence by check, over the released data."""
    return {
        name: {n: text for n, e in enumerate(released, start=1) if (text := find(e))} for name, find in FIND.items()
    }


def test_known_defects_of_the_released_data(released: list[Example], flagged: dict[str, dict[int, str]]) -> None:
    assert sum(text == "(empty)" for text in flagged["empty_output"].values()) == 28
    assert len(flagged["merged_record"]) == 37
    to_19 = [str(number) for number in range(1, 20)]
    plain = {n for n, e in enumerate(released, start=1) if re.findall(r"^\s*(\d+)[.)]", e.output, re.M) == to_19}
    assert len(plain) == 45
    assert plain <= set(flagged["list_stops_at_19"])
    assert len(flagged["ends_in_20"]) == 45
    assert len(flagged["no_input_spelling"]) > 650
    assert not any(flagged[rule.name] for rule in PUBLISHED_RULES)
    stop = stop_at_20(released)
    assert stop.records_with == {"18.": 113, "19.": 157, "20.": 0, "21.": 83, "22.": 41}
    assert "120" in stop.evidence


def test_checks_find_what_was_found_by_eye(flagged: dict[str, dict[int, str]]) -> None:
    truth = json.loads(TRUTH.read_text())
    defects = [(name, number) for name, verdicts in truth["kinds"].items() for number in verdicts["defect"]]
    assert sum(number in flagged[name] for name, number in defects) >= 0.9 * len(defects)
    drawn = random.Random(truth["sample"]["seed"]).sample(range(1, 52003), truth["sample"]["size"])
    false = [
        number
        for number in drawn
        if str(number) not in truth["sample"]["defects"] and any(number in numbers for numbers in flagged.values())
    ]
    assert len(false) <= 1


def findings(out: Path) -> Iterator[dict]:
    return map(json.loads, (out / "findings.jsonl").read_text().splitlines())


def test_audit_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = [
        GOOD,
        changed(output="Apple."),
        changed("Name three fruits that are red, please."),
        GOOD,
        changed("Say what the sea is like.", "", ""),
        changed("Translate the sentence.", "Il pleut.", "It rains."),
        changed("Translate the sentence.", "Il neige.", "It snows."),
    ]
    write_examples(tmp_path / "data.json", examples)
    report = audit(tmp_path / "data.json", tmp_path / "out")
    assert [(f["record"], f["check"]) for f in findings(tmp_path / "out")] == [
        (2, "contradiction"),
        (3, "near_duplicate"),
        (4, "duplicate"),
        (5, "empty_output"),
        (6, "too_short"),
        (7, "too_short"),
    ]
    assert {f["id"] for f in findings(tmp_path / "out") if f["record"] == 4} == {GOOD.id}
    assert (report.records, report.flagged, report.checks["empty_output"].count) == (7, 6, 1)
    summary = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert summary["checks"] == {name: asdict(check) for name, check in report.checks.items()}
    assert summary["with_input"] == 2
    assert summary["lengths"]["input"] == [[2, 2]]
    assert sum(summary["similarities"]["nearest"]) == 7
    assert summary["similarities"]["threshold"] == THRESHOLD
    printed = capsys.readouterr().out
    assert "5: (empty)" in printed
    assert str(tmp_path / "out" / "findings.jsonl") in printed


def test_audit_of_a_file_as_people_have_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chat = [("human", "What is a fox, in a word?"), ("gpt", "An animal."), ("human", "And </s>?"), ("gpt", "A token.")]
    rows = [
        json.dumps({"instruction": "Name three red fruits.", "output": "Apple, cherry, plum.", "source": "x"}),
        '{"instruction": "Name a thing',
        json.dumps({"conversations": [{"from": role, "value": text} for role, text in chat], "source": "y"}),
        json.dumps({"instruction": "Say what [INST] is for.", "output": "It begins an <|im_start|> turn."}),
    ]
    (tmp_path / "data.txt").write_bytes(gzip.compress("\n".join(rows).encode()))
    (tmp_path / "eval.json").write_text(json.dumps([{"instruction": "And </s>?", "output": ""}]))
    report = audit(tmp_path / "data.txt", tmp_path / "out", (tmp_path / "eval.json",))
    found = [(f["record"], f["check"], f["evidence"]) for f in findings(tmp_path / "out")]
    assert [each[:2] for each in found] == [
        (2, "unreadable_record"),
        (3, "special_token"),
        (3, "contamination"),
        (4, "special_token"),
    ]
    assert (found[1][2], found[3][2]) == ("</s>", "[INST] <|im_start|>")
    assert (report.records, report.flagged, report.conversations) == (4, 3, 1)
    assert report.unknown_keys == {"source": 2}
    printed = capsys.readouterr().out
    assert "JSON Lines, gzip: conversations: 1; keys that are not read: source (2)" in printed


def test_the_special_tokens_of_a_named_base_are_looked_for(tmp_path: Path, tiny_model: Path) -> None:
    write_examples(tmp_path / "data.json", [changed(output="It is <pad> here."), changed("Say [INST] now.")])
    command = [sys.executable, "-m", "pacos", "generate", "--audit", tmp_path / "data.json", "--out", tmp_path / "out"]
    done = subprocess.run([*command, "--base", tiny_model], capture_output=True, text=True, check=True)
    assert [(f["record"], f["evidence"]) for f in findings(tmp_path / "out") if f["check"] == "special_token"] == [
        (1, "<pad>")
    ]
    assert "special_token" in done.stdout
    done = subprocess.run([*command, "--base", tmp_path / "none"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_evaluation_questions_are_looked_for(tmp_path: Path) -> None:
    write_examples(tmp_path / "data.json", [GOOD, changed("Say what the sea is like in winter.")])
    write_examples(tmp_path / "eval.json", [changed("Tell me what the sea is like in winter.")])
    report = audit(tmp_path / "data.json", tmp_path / "out", (tmp_path / "eval.json",))
    assert report.checks["contamination"].count == 1
    (found,) = findings(tmp_path / "out")
    assert found["record"] == 2
    assert str(tmp_path / "eval.json") in found["evidence"]


def test_a_file_without_20_is_told_only_where_it_should_be_there() -> None:
    many = [changed(output=f"It was in 20{year}.") for year in (19, 21) for _ in range(12)]
    assert stop_at_20(many).evidence
    assert not stop_at_20(many[:10]).evidence
    assert not stop_at_20([*many, changed(output="It was in 2020.")]).evidence


def test_the_verb_writes_findings_and_page(tmp_path: Path) -> None:
    write_examples(tmp_path / "data.json", [GOOD, changed(output="")])
    write_examples(tmp_path / "data.jsonl", [GOOD])
    for name, told in (("data.json", "1 of 2 records flagged"), ("data.jsonl", "0 of 1 record")):
        command = [sys.executable, "-m", "pacos", "generate", "--audit", name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert told in done.stdout
    # Each file has a folder of its own.
    for name in ("data.json", "data.jsonl"):
        out = tmp_path / "runs" / f"audit-{name}"
        assert {path.name for path in out.iterdir()} == {"audit.html", "audit.json", "findings.jsonl"}


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"instruction": "x"}')
    with pytest.raises(PacosError, match=r"data\.json"):
        audit(tmp_path / "data.json", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "asked",
    [
        "Calculate the value of (10^20)^20.",
        "Calculate (((9^20)^20)^20)^20.",
        f"Calculate {'+'.join(['1'] * 1500)}.",
        f"Calculate {'(' * 300}1{')' * 300} + 1.",
        "Calculate 1 / 0.",
        f"What is {'9' * 400} + 1?",
    ],
)
def test_a_monstrous_sum_is_no_finding_and_takes_no_time(asked: str) -> None:
    for example in (changed(asked, output="7"), changed("Calculate this.", asked.removeprefix("Calculate "), "7")):
        assert FIND["wrong_arithmetic"](example) == ""


def test_an_audit_is_never_written_over_that_of_another_file(tmp_path: Path) -> None:
    for name in ("first.json", "second.json"):
        write_examples(tmp_path / name, [GOOD])
    audit(tmp_path / "first.json", tmp_path / "out")
    audit(tmp_path / "first.json", tmp_path / "out")
    with pytest.raises(PacosError, match="holds the audit of another file"):
        audit(tmp_path / "second.json", tmp_path / "out")
