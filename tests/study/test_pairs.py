"""Every judged pair in the page: the right ones, found by each filter and by keys, whatever stands in them."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from pacos.evaluate.judged_pairs import JudgedPairs, read_pairs
from pacos.statistics import holm, sign_test
from pacos.study.report_page import write
from tests.study import made_measures, made_run
from tests.study.made_pairs import make_pairs

HOSTILE = (
    "</script><script>document.title = 'taken'</script><!--<script> "
    "<img src=x onerror=\"document.title='taken'\"> &lt; \ud800"
)


def make(folder: Path, count: int = 48, **about: object) -> Path:
    run = made_run.make_run(folder / "run")
    make_pairs(run / "evaluate", count, **about)
    return run


def pairs_of(run: Path) -> JudgedPairs:
    found = read_pairs(run / "evaluate", "base", ["student", "rival"])
    assert found
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make(tmp_path_factory.mktemp("pairs"))
    write(run)
    return run


@pytest.fixture
def page(browser, run: Path):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((run / "report.html").as_uri())
    yield page
    page.close()


def status(page) -> dict[str, int]:
    """The numbers in the line above the list, by their words; "found" and "all" for the first two."""
    text = page.locator("#pairs-status").text_content()
    found, everything = map(int, re.match(r"(\d+) of (\d+) pairs", text.replace(",", "")).groups())
    counts = {word: int(n.replace(",", "")) for n, word in re.findall(r"([\d,]+) (won|lost|tied|unreadable)", text)}
    return {"found": found, "all": everything, **counts}


def choose(page, **values: str) -> dict[str, int]:
    for name, label in values.items():
        page.locator(f"#pairs-filter [name={name}]").select_option(label=label)
    page.wait_for_timeout(50)
    return status(page)


def test_pairs_come_to_the_counts_of_the_report(run: Path) -> None:
    report = json.loads((run / "evaluate" / "report.json").read_text())
    for candidate, comparison in report["comparisons"].items():
        for part, counts in comparison.items():
            own = [p for p in pairs_of(run).pairs if p.candidate == candidate and p.item.set == part]
            outcomes = Counter(pair.outcome for pair in own)
            names = {"win": "wins", "loss": "losses", "tie": "ties", "unparsable": "unparsable"}
            assert {names[each]: outcomes[each] for each in names} == {name: counts[name] for name in names.values()}


def test_reading_changes_nothing_and_needs_no_torch(run: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (run / "evaluate").rglob("*.*")}
    code = (
        "import sys; from pathlib import Path; from pacos.evaluate.judged_pairs import read_pairs;"
        "read_pairs(Path(sys.argv[1]), 'base', ['student', 'rival']);"
        "print({'torch', 'transformers', 'sqlalchemy'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", code, run / "evaluate"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "set()\n"
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (run / "evaluate").rglob("*.*")}
    assert after == before


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("ballots.sqlite", "no database", "ballots.sqlite"),
        ("verdicts.jsonl", '{"item": "0", "judge": "stern", "answers": ["a", "b"], "ballots": ["c"]}\n', "evaluate"),
        ("answers/rival.jsonl", '{"item": "0"}\n', "evaluate"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, file: str, content: str, named: str) -> None:
    run = make(tmp_path, 4)
    (run / "evaluate" / file).write_text(content)
    with pytest.raises(PacosError, match=re.escape(named)):
        write(run)


def test_pairs_that_were_taken_away_are_said(tmp_path: Path) -> None:
    run = make(tmp_path, 4)
    (run / "evaluate" / "ballots.sqlite").unlink()
    html = write(run).read_text()
    assert "cannot be shown one by one" in html
    assert "<script" not in html


def test_each_filter_finds_what_it_says(run: Path, page) -> None:
    pairs = pairs_of(run).pairs
    assert status(page)["found"] == len(pairs) == 96
    outcomes = Counter(pair.outcome for pair in pairs)
    for word, outcome in {"won": "win", "lost": "loss", "tied": "tie", "unreadable": "unparsable"}.items():
        assert choose(page, outcome=word) == {
            "found": outcomes[outcome], "all": 96, "won": 0, "lost": 0, "tied": 0, "unreadable": 0,
        } | {word: outcomes[outcome]}  # fmt: skip
    conflicts = [pair for pair in pairs if any(verdict.is_conflict for verdict in pair.verdicts)]
    assert choose(page, outcome="orders disagree")["found"] == len(conflicts) > 0
    disputed = [pair for pair in pairs if len({verdict.outcome for verdict in pair.verdicts}) > 1]
    assert choose(page, outcome="judges disagree")["found"] == len(disputed) > 0
    sterns = Counter(v.outcome for pair in pairs for v in pair.verdicts if v.judge == "stern")
    found = choose(page, outcome="any", judge="stern")
    assert (found["won"], found["lost"], found["tied"]) == (sterns["win"], sterns["loss"], sterns["tie"])
    assert choose(page, judge="majority of all", model="rival", set="harder")["found"] == 12
    page.get_by_role("button", name="Show all").click()
    page.wait_for_timeout(50)
    assert status(page)["found"] == 96
    numbers = [pair for pair in pairs if pair.item.input]
    assert choose(page, input="with an input")["found"] == len(numbers)


def test_parts_of_each_facet_add_up_to_all(page) -> None:
    for name in ("category", "input", "asked", "answered", "difference"):
        options = page.locator(f"#pairs-filter [name={name}] option").all_text_contents()
        found = [choose(page, **{name: option})["found"] for option in options]
        assert found[0] == sum(found[1:]) == 96
        choose(page, **{name: options[0]})


def test_text_is_found_in_questions_answers_and_reasons(run: Path, page) -> None:
    search = page.get_by_label("Text")
    for text, expected in (("(7)", 2), ("SAYS RIVAL", 47), ("by its looks", 96), ("nowhere to be found", 0)):
        search.fill(text)
        page.wait_for_timeout(100)
        assert status(page)["found"] == expected
    search.press("Escape")
    page.wait_for_timeout(50)
    assert status(page)["found"] == 96


def test_an_opened_pair_shows_both_answers_and_every_vote(run: Path, page) -> None:
    judged = pairs_of(run)
    pair = judged.pairs[5]
    row = page.locator("#pairs-list > li").nth(5)
    row.locator("summary").click()
    row.locator(".opened").wait_for()
    shown = row.inner_text()
    for text in (pair.item.instruction, judged.answers["base", pair.item.id], judged.answers["student", pair.item.id]):
        assert text.strip() in shown
    for verdict in pair.verdicts:
        assert verdict.judge in shown
        for vote in verdict.votes:
            assert vote.reply.splitlines()[-1] in shown
    assert shown.count("shown first") == 4


def test_keys_move_open_and_search(page) -> None:
    focused = "[...document.querySelectorAll('#pairs-list summary')].indexOf(document.activeElement)"
    page.locator("#pairs-list summary").first.focus()
    for key, place in (("j", 1), ("ArrowDown", 2), ("k", 1), ("ArrowUp", 0), ("k", 0)):
        page.keyboard.press(key)
        assert page.evaluate(focused) == place
    page.keyboard.press("Enter")
    assert page.locator("#pairs-list details[open]").count() == 1
    for _ in range(95):
        page.keyboard.press("j")
    assert page.evaluate(focused) == 95
    page.keyboard.press("/")
    page.keyboard.type("(7)j")
    page.wait_for_timeout(100)
    assert status(page)["found"] == 0
    page.keyboard.press("Backspace")
    page.wait_for_timeout(100)
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == 0


def test_the_judges_are_shown_as_their_own_verdicts_say(run: Path, page) -> None:
    pairs = pairs_of(run).pairs
    for judge in ("builtin:judge", "stern"):
        read = [v for p in pairs for v in p.verdicts if v.judge == judge and v.outcome != "unparsable"]
        agree = sum(not verdict.is_conflict for verdict in read)
        cell = page.locator(f'tr[data-judge="{judge}"] [data-column="both orders agree"]').inner_text()
        assert 0 < agree < len(read)
        assert cell.startswith(f"{100 * agree / len(read):.1f}")


def test_answers_about_as_long_differ_by_a_fifth_at_most_and_tests_are_adjusted_together(run: Path, page) -> None:
    found = pairs_of(run)
    sides: Counter[str] = Counter()
    for pair in found.pairs:
        if pair.candidate == "student" and pair.item.set == "main":
            ours, theirs = (len(found.answers[model, pair.item.id]) for model in ("student", "base"))
            sides["near" if min(ours, theirs) / max(ours, theirs) >= 0.8 else "far"] += 1
    rows = page.locator("#slices details").first.locator("tr[data-facet=difference]")
    counts = {
        row.locator("th").inner_text(): sum(map(int, re.findall(r"\d+", row.locator("td").first.inner_text())))
        for row in rows.all()
    }
    assert 0 < sides["near"] == counts["about as long"]
    told, raw = [], []
    for row in page.locator("#slices details").first.locator("tr[data-facet]").all():
        won, _, lost = map(int, re.match(r"(\d+)–(\d+)–(\d+)", row.locator("td").first.inner_text()).groups())
        if won + lost:
            raw.append(sign_test(won, lost))
            told.append(row.locator("td").last.inner_text())
    assert len(raw) > 1
    assert told == ["< 0.001" if p < 0.001 else f"{p:.3f}" for p in holm(raw)] != [f"{p:.3f}" for p in raw]


def test_a_files_categories_have_a_table_the_rarest_together(tmp_path: Path) -> None:
    run = make(tmp_path)
    path = run / "evaluate" / "items.jsonl"
    items = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [{**item, "skill": "", "category": f"app {min(n // 3, 13)}"} for n, item in enumerate(items)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    html = write(run).read_text()
    found = re.findall(r'<tr data-facet="category".*?<th.*?<a .*?>(.*?)</a>.*?<td class="n">(.*?)</td>', html)
    assert len(found) == 2 * 12, "twelve parts of each candidate's main items, the first 36"
    assert found[0][0] == "app 0"
    assert sum(int(n) for _, counts in found for n in re.findall(r"\d+", counts)) == 2 * 36
    for row in rows:
        row["category"] = f"app {row['id']}"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert re.findall(r"<a [^>]*category=12[^>]*>(.*?)</a>", write(run).read_text()) == ["36 others"] * 2


def test_a_row_of_the_tables_leads_to_its_pairs(page) -> None:
    row = page.locator("#slices tr[data-facet=category]").first
    counts = row.locator("td").first.inner_text()
    won, tied, lost = map(int, re.match(r"(\d+)–(\d+)–(\d+)", counts).groups())
    row.locator("a").click()
    page.wait_for_timeout(50)
    found = status(page)
    assert (found["won"], found["tied"], found["lost"]) == (won, tied, lost)
    assert page.locator("#pairs-list").is_visible()


def test_hostile_texts_stay_text(browser, tmp_path: Path) -> None:
    write(make(tmp_path, 8, hostile=HOSTILE))
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "run" / "report.html").as_uri())
    page.locator("#pairs-list summary").nth(2).click()
    page.locator("#pairs-list .opened").wait_for()
    shown = page.locator("#pairs-list li").nth(2).inner_text()
    assert shown.count("</script><script>document.title = 'taken'</script>") >= 4
    assert "&lt;" in shown
    assert "taken" not in page.title()
    assert page.locator("#pairs-list img, #pairs-list script").count() == 0
    assert len([url for url in asked if not url.startswith("data:")]) == 1
    page.close()


def test_without_javascript_the_rest_is_there(browser, run: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((run / "report.html").as_uri())
    assert page.locator("#claim-student").is_visible()
    assert page.locator("#slices table").first.is_visible()
    assert page.locator("#pairs .unscripted").is_visible()
    assert not page.locator("#pairs-filter").is_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_scrolls_only_downwards(browser, run: Path, scheme: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.goto((run / "report.html").as_uri())
    page.locator("#pairs-list summary").nth(1).click()
    page.locator("#pairs-list .opened").wait_for()
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    wide = page.evaluate("""() => [...document.querySelectorAll("#pairs *")]
        .filter((each) => each.getBoundingClientRect().right > 391).map((each) => each.outerHTML.slice(0, 80))""")
    assert wide == []
    page.close()


def test_five_thousand_pairs_are_filtered_at_once(browser, tmp_path: Path) -> None:
    run = make(tmp_path, 5_000, candidates=("student",), judges=("stern",), replies=False)
    assert write(run).stat().st_size < 10_000_000
    page = browser.new_page()
    page.goto((run / "report.html").as_uri())
    assert status(page)["found"] == 5_000
    for wanted in ("says student", "(4999)", "e"):
        taken = page.evaluate(
            """(text) => {
                const form = document.getElementById("pairs-filter");
                form.elements.text.value = text;
                const start = performance.now();
                form.dispatchEvent(new Event("input"));
                return new Promise((done) => requestAnimationFrame(() =>
                    setTimeout(() => done(performance.now() - start))));
            }""",
            wanted,
        )
        assert taken < 1_000
    assert page.locator("#pairs-list > li").count() < 200
    page.close()


def test_measures_and_harnesses_stand_beside_each_other(tmp_path: Path) -> None:
    run = make(tmp_path, 8)
    html = write(run).read_text()
    assert "Not measured in this run: ROUGE-L, multiple choice, perplexity, memorisation, contamination." in html
    assert "No other harness has measured this run" in html
    made_measures.make_measures(run)
    html = write(run).read_text()
    assert "not-measured" not in html
    shown = {row: re.search(rf'<table class="stacks" id="{row}">(.*?)</table>', html, re.S) for row in (
        "measure-rouge-l", "measure-multiple-choice", "measure-topics", "measure-perplexity-1",
        "measure-memorisation-1", "measure-contamination", "harness-lm-eval", "harness-helm",
    )}  # fmt: skip
    assert all(shown.values())
    choice = shown["measure-multiple-choice"].group(1)
    assert "34.2%" in choice
    assert "+7.5" in choice
    assert "not measured: a server gives no likelihoods" in choice
    assert "0.0%" not in choice
    assert "0.257 to 0.427" in shown["harness-lm-eval"].group(1)
    assert "builtin:judge (not certified) and stern (certified)" in html
