"""The tree's file: any text comes back, git sees one line a change, and what somebody else wrote is never lost."""

import csv
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacos.core.errors import PacosError
from pacos.redteam.adapt.tree import COLUMNS, LABELS, STATUSES, Tree, TreeChangedError, TreeTest, read_tree, topic_path
from tests.conftest import Command

HEADER = ",".join(COLUMNS)
SIGNS = st.sampled_from(
    ["\n", "\r", "\r\n", '"', '""', ",", "=1+1", "@a", "-", "+", "\t", "\0", "\ufeff", "é", "漢", "\u2028"]
)
TEXTS = st.lists(st.one_of(SIGNS, st.text(max_size=4)), max_size=4).map("".join)
SAID = TEXTS.filter(str.strip)
TOPICS = st.lists(st.text("abc ü,\"'=;-", min_size=1, max_size=6).map(str.strip).filter(bool), min_size=1, max_size=3)


@st.composite
def trees(draw: st.DrawFn) -> list[TreeTest]:
    names = draw(st.lists(SAID, max_size=4, unique=True))
    return [
        TreeTest(
            name,
            "/".join(draw(TOPICS)),
            draw(SAID),
            draw(SAID),
            draw(st.sampled_from(STATUSES)),
            draw(st.sampled_from(LABELS)),
            draw(TEXTS),
            draw(TEXTS),
        )
        for name in names
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees())
def test_any_text_comes_back_and_every_reader_of_csv_sees_it(
    tmp_path_factory: pytest.TempPathFactory, tests: list[TreeTest]
) -> None:
    path = tmp_path_factory.mktemp("tree") / "tree.csv"
    tree = Tree(path)
    for test in tests:
        tree.put(test)
    tree.save()
    if not tests:
        assert not path.exists()
        return
    assert Tree(path).tests == {test.id: test for test in tests}
    rows = read_tree(path)
    assert list(rows) == sorted(tests, key=lambda test: (test.topic, test.id))
    with open(path, newline="", encoding="utf-8") as file:
        assert [tuple(row) for row in csv.reader(file)] == [COLUMNS, *map(astuple, rows)]
    # What did not change is written as it was.
    written = path.read_bytes()
    again = Tree(path)
    again.put(replace(tests[0], note=f"{tests[0].note}!"))
    again.put(tests[0])
    again.save()
    assert path.read_bytes() == written


def test_a_change_is_one_line_of_a_diff_and_topics_stand_together(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "t.csv")
    for topic in ("b", "a/x", "b", "a", "a/x"):
        prompt = f"Prompt {len(tree.tests)}"
        tree.put(TreeTest(tree.new_id(prompt, "refusal"), topic, prompt, "refusal"))
    tree.save()
    before = (tmp_path / "t.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in before[1:]] == ["a", "a/x", "a/x", "b", "b"]
    first = read_tree(tmp_path / "t.csv")[0]
    tree.put(replace(first, status="accepted"))
    tree.save()
    after = (tmp_path / "t.csv").read_text().splitlines()
    assert [place for place, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]] == [1]


def test_the_same_prompt_has_one_id_wherever_it_is_added(tmp_path: Path) -> None:
    one, two = Tree(tmp_path / "1.csv"), Tree(tmp_path / "2.csv")
    assert one.new_id("Hello", "refusal") == two.new_id("Hello", "refusal")
    one.put(TreeTest(one.new_id("Hello", "refusal"), "a", "edited", "refusal"))
    assert one.new_id("Hello", "refusal") not in one.tests


@pytest.mark.parametrize(
    ("rows", "line", "expected"),
    [
        ("1,a,Hello,refusal,proposed,,person", 2, "7 cells; expected 8"),
        ("1,a,Hello, you,refusal,proposed,,person,", 2, "9 cells; expected 8"),
        ("1,a,Hello,refusal,maybe,,,\n", 2, "status 'maybe'; expected proposed, accepted, rejected"),
        ("1,a,Hello,refusal,proposed,bad,,", 2, "label 'bad'; expected hit, safe or nothing"),
        (",a,Hello,refusal,proposed,,,", 2, "no id"),
        ("1,a,Hello,refusal,proposed,,,\n\n1,b,Other,refusal,proposed,,,", 4, "that of line 2"),
        ('1,a,"He\nllo",refusal,proposed,,,\n2,a,,refusal,proposed,,,', 4, "no prompt"),
        ("1,a,Hello,,proposed,,,", 2, "no objective"),
        ("1,,Hello,refusal,proposed,,,", 2, "topic"),
        ("1,a//b,Hello,refusal,proposed,,,", 2, "topic 'a//b': expected a path such as money/loans"),
        ('1,a,"Hello,refusal,proposed,,,\n2,b,Other,refusal,proposed,,,', 2, "no CSV"),
        ('1,a,"Hello" you,refusal,proposed,,,', 2, "no CSV"),
    ],
)
def test_a_broken_row_is_one_line_with_its_place(
    rows: str, line: int, expected: str, pacos: Command, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text(f"{HEADER}\n{rows}\n")
    before = (tmp_path / "t.csv").read_bytes()
    refused(pacos, tmp_path, f"t.csv:{line}: ", expected)
    assert (tmp_path / "t.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"id,topic,prompt\n", "t.csv:1: the columns are 'id,topic,prompt'; expected id,topic,prompt,objective"),
        (HEADER.encode() + b"\n1,a,\xff,refusal,proposed,,,\n", "t.csv:2: byte 5 is not UTF-8"),
        (b"\x00\x01\x02", "t.csv:1: the columns"),
    ],
)
def test_a_file_that_is_no_tree_is_one_line(content: bytes, says: str, pacos: Command, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    refused(pacos, tmp_path, says)


def refused(pacos: Command, folder: Path, *says: str) -> None:
    command = ("redteam", "adapt", "http://127.0.0.1:1/v1", "--objective", "refusal", "--rounds", 1, "--tree", "t.csv")
    code, _, err = pacos(*command)
    assert code == 2
    assert all(text in err for text in says), err
    assert err.strip().count("\n") == 0
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("ends", [b"\r\n", b"\n\n"])
def test_a_file_saved_by_other_programs_is_read(ends: bytes, tmp_path: Path) -> None:
    row = b'1,a,"Hello\nyou",refusal,accepted,hit,person,'
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + ends.join((HEADER.encode(), row, b"")))
    assert read_tree(tmp_path / "t.csv") == (TreeTest("1", "a", "Hello\nyou", "refusal", "accepted", "hit", "person"),)


def test_what_somebody_else_wrote_is_kept_and_reload_takes_in_both(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    tests = [TreeTest(str(n), "a", f"Prompt {n}", "refusal") for n in range(5)]
    ours = Tree(path)
    for test in tests:
        ours.put(test)
    ours.save()
    theirs = Tree(path)
    theirs.put(replace(tests[0], note="by hand", label="hit"))
    theirs.put(replace(tests[1], prompt="Mended"))
    theirs.put(TreeTest("new", "b", "Theirs", "refusal"))
    del theirs.tests["3"], theirs.tests["4"]
    theirs.save()
    written = path.read_bytes()
    ours.put(replace(tests[0], status="accepted", label="safe"))
    ours.put(replace(tests[3], status="rejected"))
    ours.put(TreeTest("ours", "c", "Ours", "refusal"))
    with pytest.raises(TreeChangedError, match="nothing was written"):
        ours.save()
    assert path.read_bytes() == written
    ours.reload()
    ours.save()
    assert Tree(path).tests == {
        # Cell by cell, and of one that both changed the file's.
        "0": replace(tests[0], status="accepted", note="by hand", label="hit"),
        "1": replace(tests[1], prompt="Mended"),
        "2": tests[2],
        # Deleted there, and changed here: nothing that was done here is lost.
        "3": replace(tests[3], status="rejected"),
        "new": TreeTest("new", "b", "Theirs", "refusal"),
        "ours": TreeTest("ours", "c", "Ours", "refusal"),
    }


def test_a_file_that_was_broken_meanwhile_changes_nothing_here(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "t.csv")
    tree.put(TreeTest("1", "a", "Prompt", "refusal"))
    tree.save()
    (tmp_path / "t.csv").write_text(f"{HEADER}\n1,a\n")
    with pytest.raises(PacosError, match=r"t\.csv:2: 2 cells"):
        tree.reload()
    assert tree.tests == {"1": TreeTest("1", "a", "Prompt", "refusal")}


def test_a_topic_is_put_in_form_or_refused() -> None:
    assert topic_path(" money /  small   loans//") == "money/small loans"
    assert topic_path("") == topic_path(" / ") == ""
    for wrong in ("a\0b", "x" * 300):
        with pytest.raises(PacosError, match="topic"):
            topic_path(wrong)
