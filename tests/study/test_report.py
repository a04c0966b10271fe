"""report.html: the right numbers in the right places, safe, self-contained, and written for unfinished runs too."""

import base64
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacos.core.errors import PacosError
from pacos.core.recipe import load
from pacos.study.page.formats import showable
from pacos.study.report_page import write
from tests.study import made_pairs, made_run

VOID = {"meta", "link", "br", "img", "input", "hr", "base", "embed", "source"}


class Page(HTMLParser):
    """A parsed page: elements with attributes, text by id, and tags that close in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: dict[str, str] = {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(self.html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.elements.append((tag, values))
        if tag not in VOID:
            self._open.append((tag, values.get("id")))
            self.text.setdefault(values.get("id", ""), "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, id in self._open:
            if id:
                self.text[id] += data

    def value(self, id: str) -> float:
        (found,) = [attrs["value"] for tag, attrs in self.elements if tag == "data" and attrs["id"] == id]
        return float(found)

    def with_attribute(self, name: str) -> dict[str, dict[str, str]]:
        return {attrs[name]: attrs for _, attrs in self.elements if name in attrs}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run.make_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(write(run))


def stage_report(run: Path, stage: str) -> dict:
    return json.loads((run / stage / "report.json").read_text())


def test_every_number_stands_where_it_belongs(run: Path, page: Page) -> None:
    generate, train, evaluate = (stage_report(run, stage) for stage in ("generate", "train", "evaluate"))
    expected = {
        "asked": generate["asked"],
        "parsed": generate["parsed"],
        "kept": generate["kept"],
        **{f"rejected-{rule}": count for rule, count in generate["rejected"].items()},
        "distinct-instructions": 60,
        "steps": train["steps"],
        "final-loss": train["final_loss"],
        "heldout-before": train["heldout_loss_before"],
        "heldout-after": train["heldout_loss_after"],
        "real-tokens-per-second": train["real_tokens_per_second"],
        "items": evaluate["items"],
        "exact-base-held-out-items": evaluate["exact_match"]["base"],
        "exact-student-held-out-items": evaluate["exact_match"]["student"],
        "exact-student-harder-items": evaluate["exact_match_harder"]["student"],
        "pairwise-student-held-out-items-wins": evaluate["pairwise"]["wins"],
        "pairwise-student-held-out-items-losses": evaluate["pairwise"]["losses"],
        "pairwise-student-held-out-items-ties": evaluate["pairwise"]["ties"],
        "pairwise-student-held-out-items-rate": evaluate["pairwise"]["win_rate"],
        "key-win-rate": evaluate["pairwise"]["win_rate"],
        "seconds-train": train["seconds"],
        "usd-generate": generate["usd"],
        "seconds-all": 12.4 + 92.25 + 61.5 + 1.5,
        "usd-all": 0.0342 + 0.01,
    }
    assert {id: page.value(id) for id in expected} == pytest.approx(expected)
    assert page.text["weights-sha256"] == train["weights_sha256"]
    assert "missing" not in page.text


def test_headline_gives_result_of_both_models(run: Path, page: Page) -> None:
    evaluate = stage_report(run, "evaluate")
    for share in (*evaluate["exact_match"].values(), evaluate["pairwise"]["win_rate"]):
        assert f"{share:.1%}" in page.text["result"]


def test_every_skill_has_its_row_and_every_example_its_answers(run: Path, page: Page) -> None:
    evaluate = stage_report(run, "evaluate")
    assert set(page.with_attribute("data-skill")) == {row["skill"] for row in evaluate["per_skill"]}
    assert len(page.with_attribute("data-example")) == 5
    assert set(page.with_attribute("data-answer")) == {"base", "student", "reference"}


def test_plots_are_titled_svg_with_text_and_no_id_stands_twice(page: Page) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page.html, re.S)
    assert len(drawings) == 8
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        titles = [root.find(f".//*[@id='{id}']") for id in root.attrib["aria-labelledby"].split()]
        assert all(title is not None and title.text for title in titles)
        assert root.findall(".//text")
        assert "#000" not in drawing
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def scripts(page: Page) -> list[str]:
    """What the page runs: each is the whole of an element that its own policy allows by hash, and nothing else is."""
    found = re.findall(r'<script type="(.*?)"[^>]*>(.*?)</script>', page.html, re.S)
    assert len(found) == sum(tag == "script" for tag, _ in page.elements)
    run = [text for kind, text in found if kind != "application/json"]
    (policy,) = [
        attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    allowed = [f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}" for text in run]
    assert "default-src 'none'" in policy
    assert re.findall(r"script-src (.*)", policy) == [f"'{each}'" for each in allowed]
    return run


def assert_self_contained(page: Page) -> None:
    assert len(scripts(page)) <= 1
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    for tag, attrs in page.elements:
        assert tag not in {"img", "iframe", "object", "embed", "base"}
        assert not [name for name in attrs if name.startswith("on")]
        for name, value in attrs.items():
            assert name not in {"src", "srcset", "xmlns", "action", "formaction", "poster"}
            if name == "href":
                assert value == "data:," or value.removeprefix("#") in ids
            for target in re.findall(r"url\(([^)]*)\)", value):
                assert target.removeprefix("#") in ids
    (style,) = re.findall(r"<style>(.*?)</style>", page.html, re.S)
    assert "url(" not in style
    assert "@import" not in style


def test_nothing_outside_the_file_is_referenced(page: Page) -> None:
    assert_self_contained(page)


def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path) -> None:
    run = made_run.make_run(tmp_path / "<b>run", hostile=made_run.HOSTILE)
    made_pairs.make_pairs(run / "evaluate", 12, hostile=made_run.HOSTILE + "</script><!--<script>")
    page = Page(write(run))
    assert_self_contained(page)
    shown = page.text["examples"]
    assert "<script>alert(1)</script>" in shown
    assert "{{ 7*7 }}" in shown
    assert "$x^2$" in shown
    assert "\x00" not in page.html
    assert "<b>run" in page.text["commands"]


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_can_stand_in_the_file(text: str) -> None:
    shown = showable(text)
    shown.encode("utf-8")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", shown)
    assert re.sub("\ufffd", "", shown) in text.replace("\r\n", "\n") or "\ufffd" in shown


def test_same_files_give_the_same_bytes_in_another_process(run: Path, page: Page) -> None:
    (run / "report.html").unlink()
    code = "import sys; from pathlib import Path; from pacos.study.report_page import write; write(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, run], check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert (run / "report.html").read_text(encoding="utf-8") == page.html


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_unfinished_run_says_what_is_missing(tmp_path: Path, done: int) -> None:
    stages = ("generate", "train", "evaluate", "release")
    run = made_run.make_run(tmp_path / "run")
    for stage in stages[done:]:
        (run / stage / "done.json").unlink()
        (run / stage / "report.json").unlink()
    page = Page(write(run))
    assert page.with_attribute("data-missing") == {" ".join(stages[done:]): page.with_attribute("id")["missing"]}
    assert {stage for stage, row in page.with_attribute("data-stage").items() if row["data-done"] == "true"} == set(
        stages[:done]
    )
    assert "pacos run" in page.text["command-go-on"]
    assert_self_contained(page)


def test_training_under_way_is_shown_without_the_line_being_written(tmp_path: Path) -> None:
    run = made_run.make_run(tmp_path / "run")
    (run / "train" / "done.json").unlink()
    with open(run / "train" / "steps.jsonl", "a") as steps:
        steps.write('{"step": 31, "lo')
    page = Page(write(run))
    assert "30 steps" in page.text["trained"]
    assert "loss-title" in page.text


def test_what_no_verdict_says_is_absent_and_a_share_has_its_own_denominator(tmp_path: Path) -> None:
    run = made_run.make_run(tmp_path / "run")
    evaluate = stage_report(run, "evaluate")
    absent = ("win_rate", "interval", "decisive_win_rate", "decisive_interval", "sign_test_p")
    counts = {"wins": 0, "losses": 0, "ties": 0, "unparsable": evaluate["items"], "conflicts": 0}
    pair = counts | dict.fromkeys(absent)
    effect = {"votes": 0, "first_shown_win_rate": None, "interval": None}
    evaluate |= {"pairwise": pair, "exact_match_items": 7, "judge_agreement": None}
    evaluate |= {"comparisons": {"student": {"main": pair, "harder": pair}}, "slot_effect": {"builtin:judge": effect}}
    made_run.finish(run / "evaluate", evaluate)
    page = Page(write(run))
    assert "key-win-rate" not in page.text
    assert "win rate of" not in page.text["result"]
    assert "of 7 held-out items" in page.text["result"]


def test_given_data_and_items_without_known_answers(tmp_path: Path) -> None:
    run = made_run.make_run(tmp_path / "run")
    for file in (run / "generate").iterdir():
        file.unlink()
    made_run.make_recipe(run, ("train.dataset=alpaca_data.json",))
    evaluate = stage_report(run, "evaluate")
    nothing = {"base": None, "student": None}
    evaluate |= {key: nothing for key in evaluate if key.startswith("exact_match") and "items" not in key}
    evaluate |= {"exact_match_items": 0, "exact_match_harder_items": 0}
    example = {"skill": "", "instruction": "Say hi.", "input": "", "base": "a", "student": "hi", "reference": ""}
    evaluate |= {"per_skill": [], "per_skill_harder": [], "examples": [example | {"right": None}]}
    evaluate |= {"items_harder": 0}
    evaluate |= {"comparisons": {"student": {"main": evaluate["pairwise"], "harder": None}}}
    made_run.finish(run / "evaluate", evaluate)
    page = Page(write(run))
    assert page.text["given-dataset"] == "alpaca_data.json"
    assert "skills" not in page.text
    assert set(page.with_attribute("data-answer")) == {"base", "student"}
    assert page.value("pairwise-student-held-out-items-wins") == evaluate["pairwise"]["wins"]
    assert "exact-base-held-out-items" not in page.text


@pytest.mark.parametrize("laid_over", [(), ("train.lora.rank=4", "engines.big.max_usd=3", "judge.max_usd=0.5")])
def test_commands_bring_back_the_very_recipe(tmp_path: Path, laid_over: tuple[str, ...]) -> None:
    run = made_run.make_run(tmp_path / "run")
    made_run.make_recipe(run, (*made_run.OVERRIDES, *laid_over))
    page = Page(write(run))
    words = shlex.split(page.text["command-repeat"])
    assert words[:2] == ["pacos", "run"]
    again = load(words[2], words[3 : words.index("--run")])
    resolved = json.loads((run / "resolved.json").read_text())
    assert again.tables() == resolved
    assert words[-1] != str(run)


def test_large_run_stays_a_small_page(tmp_path: Path) -> None:
    # Without spaces too, as a model that repeats itself may write.
    run = made_run.make_run(tmp_path / "run", hostile="word " * 10_000 + "x" * 50_000)
    made_run.make_train(run / "train", num_steps=20_000)
    assert write(run).stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("train/report.json", "{", "train/report.json:1"),
        ("train/done.json", "{}", "train/done.json"),
        ("evaluate/report.json", "{}", "evaluate/report.json"),
        ("train/steps.jsonl", "\nnot json\n", "train/steps.jsonl:2"),
        ("train/steps.jsonl", '{"step": 1}\n', "train/steps.jsonl"),
        ("resolved.json", "[", "resolved.json:1"),
    ],
)
def test_damaged_file_is_named_and_the_old_page_kept(tmp_path: Path, file: str, content: str, named: str) -> None:
    run = made_run.make_run(tmp_path / "run")
    (run / "report.html").write_text("old")
    (run / file).write_text(content)
    with pytest.raises(PacosError, match=re.escape(named)):
        write(run)
    assert (run / "report.html").read_text() == "old"


def test_other_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PacosError, match="no run folder"):
        write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_page_needs_neither_torch_nor_a_database(run: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pacos.study.report_page import write; write(Path(sys.argv[1]));"
        "print({'torch', 'sqlalchemy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code, run], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
