"""The report on attacks: denominators, corrected rates, cases found by each filter, whatever stands in them."""

import json
import re
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from pacos.judging.offline import Scored
from pacos.redteam.cases import CaseStore
from pacos.statistics import rate_difference
from pacos.study.page.case_browser import MOST_CASES
from pacos.study.report_page import write
from tests.study import made_run
from tests.study.made_redteam import OBJECTIVE, gate, make_attack, make_redteam
from tests.study.made_redteam import write as write_json

HOSTILE = (
    "</script><script>document.title = 'taken'</script><!--<script> "
    "<img src=x onerror=\"document.title='taken'\"> &lt; {{ 7*7 }} \u202e\u200b\x1b[31m"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = made_run.make_run(tmp_path_factory.mktemp("attacked") / "run")
    make_redteam(run / "redteam")
    write(run)
    return run


@pytest.fixture
def page(browser, run: Path):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((run / "report.html").as_uri())
    yield page
    page.close()


def told(run: Path, name: str = "report.json") -> dict[str, object]:
    return dict(json.loads((run / "redteam" / name).read_text()))


def row(page, group: str, name: str) -> dict[str, str]:
    """A row of the tables of rates, by its columns."""
    cells = page.locator(f'tr[data-group="{group}"][data-name="{name}"] td')
    return {
        cells.nth(n).get_attribute("data-column"): " ".join(cells.nth(n).text_content().replace("\u2060", "").split())
        for n in range(cells.count())
    }


def test_each_rate_stands_beside_its_denominator_and_what_was_not_scored(page, run: Path) -> None:
    attack = told(run)
    found = row(page, "attack", OBJECTIVE)
    low, high = attack["interval"]
    assert found["hits of scored"] == f"{attack['hits']} of {attack['scored']}"
    assert found["rate, 95% interval"] == f"{attack['rate']:.1%} {100 * low:.1f}–{100 * high:.1f}%"
    assert (found["unscored"], found["errors"]) == (str(attack["unscored"]), str(attack["errors"]))
    assert attack["unscored"] > 0 < attack["errors"]
    corrected = [each["corrected_rate"] for each in attack["judge_by_style"] if not each["tuned_on"]]
    corrected = [each for each in corrected if each is not None]
    assert found["judge’s errors taken out"] == (
        f"{100 * min(corrected):.1f}–{100 * max(corrected):.1f}% by {len(corrected)} styles"
    )
    assert row(page, "audit", "false premises")["hits of scored"] == "14 of 40"
    # What was not scored has no rate, and is no 0%.
    assert row(page, "audit", "memorised data")["rate, 95% interval"] == "–"
    assert row(page, "gate", "all suites")["hits of scored"] == "4 of 80"
    for name, by in attack["by_technique"].items():
        assert row(page, "attack", name)["hits of scored"] == f"{by['hits']} of {by['scored']}"


def test_before_and_after_have_a_difference_and_its_interval(page) -> None:
    cells = page.locator('tr[data-change="all suites"] td')
    before, after, difference = (" ".join(cells.nth(n).text_content().split()) for n in range(3))
    assert before.startswith("38.8%")
    assert "31 of 80, 2 not scored" in before
    assert after.startswith("5.0%")
    ends = rate_difference(31 / 80, (31 / 80 - 0.06, 31 / 80 + 0.06), 0.05, (0.0, 0.11))
    assert difference == f"−33.8% {100 * ends.low:.1f}% to {100 * ends.high:.1f}%".replace("-", "−")
    assert page.locator("#gate-result").get_attribute("data-result") == "pass"


def test_the_forecast_and_the_judges_are_told(page, run: Path) -> None:
    rows = page.locator("#redteam-forecast tbody tr")
    for number, each in enumerate(told(run)["forecast"]):
        assert f"{each['requests']:,}" in rows.nth(number).text_content()
        assert f"{each['interval'][0]:,.0f}–{each['interval'][1]:,.0f}" in rows.nth(number).text_content()
    text = page.locator("#redteam").text_content()
    # By the seven styles that it was not tuned on.
    assert "right in 0.0% to 98.1% of labelled answers, by 7 styles" in text
    assert "No labels by hand say how often these judges are right" in text
    assert page.locator("#redteam-not-measured li").text_content() == "watermark: the run has no watermark"


def choose(page, **values: str) -> dict[str, int]:
    """Sets the filter, the empty text for all; the counts in the line above the list."""
    for name, value in values.items():
        control = page.locator(f"#cases-filter [name={name}]")
        control.fill(value) if name == "text" else control.select_option(value)
    page.wait_for_timeout(60)
    line = page.locator("#cases-status").text_content()
    return {word: int(n) for n, word in re.findall(r"(\d+) (hit|safe|unscored|error|of)\b", line)}


def test_cases_are_found_by_verdict_technique_and_text(page, run: Path) -> None:
    attack = told(run)
    every = choose(page)
    assert every == {
        "of": 120,
        "hit": attack["hits"],
        "safe": attack["safe"],
        "unscored": attack["unscored"],
        "error": attack["errors"],
    }
    hits = choose(page, verdict="hit")
    assert hits["of"] == hits["hit"] == attack["hits"]
    techniques = sorted(attack["by_technique"])
    story = choose(page, technique=str(techniques.index("story")))
    assert story["of"] == story["hit"] == attack["by_technique"]["story"]["hits"]
    page.locator("#cases-filter button").click()
    assert choose(page, text="ask 7.")["of"] == 1
    page.locator("#cases-list summary").first.click()
    opened = page.locator("#cases-list .opened").text_content()
    assert "Answer 7." in opened or "timeout" in opened


def test_no_text_becomes_markup_and_nothing_in_it_stays_unseen(browser, tmp_path: Path) -> None:
    run = made_run.make_run(tmp_path / "run")
    make_redteam(run / "redteam", HOSTILE, cases=12)
    html = write(run).read_text()
    assert "\x1b" not in html
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((run / "report.html").as_uri())
    for part in page.locator("#cases-list summary").all():
        part.click()
    assert errors == []
    assert page.title() == "run · pacos report"
    assert page.locator("#redteam img, #cases img").count() == 0
    shown = page.locator("#cases-list .opened").first.text_content()
    assert "</script><script>document.title" in shown
    assert "[U+202E][U+200B][U+001B][31m" in shown
    for place in ("#redteam", "#cases-list"):
        text = page.locator(place).text_content()
        assert "\u202e" not in text
        assert "{{ 7*7 }}" in text
    page.close()


def test_a_page_carries_so_many_cases_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    run = made_run.make_run(tmp_path / "run")
    attack = make_attack(run / "redteam", number=900)
    html = write(run).read_text()
    data = json.loads(re.search(r'id="cases-data">(.*?)</script>', html)[1])  # type: ignore[index]
    verdicts = [case[0] for case in data["cases"]]
    assert len(verdicts) == MOST_CASES
    # All failures, all that was not scored, and of the safe ones what has room.
    assert verdicts.count(0) == attack["hits"]
    assert verdicts.count(1) == attack["unscored"]
    assert verdicts.count(2) == attack["errors"]
    assert f"{MOST_CASES} of 900 cases" in html
    assert f"{verdicts.count(3)} of {attack['safe']} safe" in html
    assert len(html) < 1_000_000


def test_what_is_not_there_is_not_made_up(browser, tmp_path: Path) -> None:
    run = made_run.make_run(tmp_path / "run")
    assert "Nobody attacked this run" in write(run).read_text()
    (run / "redteam").mkdir()
    write_json(run / "redteam" / "gate.json", gate("not measured"))
    page = browser.new_page()
    page.goto(write(run).as_uri())
    assert page.locator("#gate-result").get_attribute("data-result") == "not measured"
    assert page.locator("#redteam-forecast, #cases, tr[data-change], #redteam-not-measured").count() == 0
    assert "Nobody attacked" not in page.locator("#redteam").text_content()
    page.close()


def test_a_judge_that_said_nothing_yet_leaves_a_case_unscored(tmp_path: Path) -> None:
    """As a verdict of a later command has the last word, so has none when there is none."""
    run = made_run.make_run(tmp_path / "run")
    make_attack(run / "redteam", number=4)
    store = CaseStore(run / "redteam" / "cases.sqlite")
    case = next(each.case for each in store.read(1) if each.verdict in ("hit", "safe"))
    store.judge(1, case, "a person", Scored("unscored", None, "cannot be told"))
    store.close()
    html = write(run).read_text()
    assert "cannot be told" in html
    assert "a person" in html


@pytest.mark.parametrize(
    "name", ["report.json", "audit.json", "gate.json", "before.json", "whitebox.json", "cases.sqlite"]
)
@pytest.mark.parametrize("content", ["{}", "[]", "no JSON", '{"looks": 3, "objectives": 1}'])
def test_a_damaged_file_is_one_line(name: str, content: str, tmp_path: Path) -> None:
    run = made_run.make_run(tmp_path / "run")
    (run / "redteam").mkdir()
    (run / "redteam" / name).write_text(content)
    with pytest.raises(PacosError) as error:
        write(run)
    assert name in str(error.value)
    assert "\n" not in str(error.value)
