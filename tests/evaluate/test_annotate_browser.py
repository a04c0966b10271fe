"""The annotation page in the system's Chromium: by the keyboard alone, to axe in every state, and on a phone."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.evaluate.annotating import Serving, annotate, make_run, plan_of, serving
from tests.serve.browsing import browser, part
from tests.serve.test_page_quality import RULES

__all__ = ["browser"]
MARKDOWN = "# Title\n\n- a\n- [b](https://example.org)\n\n| a | b |\n|-|-|\n| 1 | 2 |\n\n```py\nx = 1  # one\n```\n"
MARKDOWN += "<script>document.title = 'bad'</script> ![x](https://example.org/x.png) {n}"


@pytest.fixture
def visit(browser: object) -> Iterator[Callable[..., object]]:
    """`visit(link)` opens a page of its own context; scripts' errors and requests elsewhere fail the test."""
    contexts, errors, foreign = [], [], []

    def open_page(link: str, width: int = 1280) -> object:
        context = browser.new_context(viewport={"width": width, "height": 844}, reduced_motion="reduce")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if "Content Security Policy" in m.text else None)
        page.on("request", lambda r: foreign.append(r.url) if not r.url.startswith(link[:20]) else None)
        page.goto(link)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert foreign == []


def press(page: object, key: str, until: str) -> None:
    """Presses a key once the page listens to keys, and waits for what it leads to."""
    page.wait_for_timeout(350)
    page.keyboard.press(key)
    page.locator(until).wait_for()


def place(number: int) -> str:
    return f"progress[value='{number - 1}']"


def links(served: Serving) -> list[str]:
    return list(served.links.values())


def test_five_annotators_by_keyboard_to_the_report(tmp_path: Path, visit: Callable[..., object]) -> None:
    run = make_run(tmp_path / "run", 7, {"student": "Good answer {n}.", "base": "Poor answer {n}."})
    with serving(run, "--annotators", 5, "--overlap", 5) as served:
        total = sum(showing["annotator"] == 1 for showing in plan_of(run)["showings"])
        pages = [visit(link) for link in links(served)]
        for page in pages:
            assert f"{total} instructions" in page.locator("main").inner_text()
            press(page, "Enter", place(1))
        # All at the same time, each at an own pace.
        for number in range(1, total + 1):
            for page in pages:
                text = page.locator("main").inner_text()
                asked = re.search(r"Do thing (\d+)", text)[1]
                first, second = re.findall(r"(Good|Poor) answer (\d+)", text)
                key = "a" if (first[1], first[0]) == (asked, "Good") or second[1] != asked else "b"
                if number == 1:
                    # A key that is held or comes too early votes once.
                    press(page, "x", place(2))
                    page.keyboard.press("x")
                    press(page, "u", place(1))
                    assert asked in page.locator("#instruction").inner_text()
                    page.wait_for_timeout(350)
                    page.keyboard.press("n")
                    page.keyboard.type("abt: so it is")
                    page.keyboard.press("Escape")
                if number == 2:
                    press(page, "p", "h1:text('Paused')")
                    page.reload()
                    press(page, "Enter", place(2))
                press(page, key, place(number + 1) if number < total else "h1:text('All done')")
        assert "Good" not in pages[0].locator("main").inner_text()
        assert annotate(run, "--close").returncode == 0
        pages[0].reload()
        assert "closed" in pages[0].locator("h1").inner_text()
    folder = run / "evaluate" / "annotation"
    report = json.loads((folder / "report.json").read_text())
    compared = len(plan_of(run)["items"])
    assert (report["main"]["wins"], report["main"]["votes"]) == (5 * compared, 5 * compared)
    assert (report["attention_shown"], report["attention_failed"]) == (5, 0)
    assert [row["undone"] for row in report["annotators"]] == [1] * 5
    votes = [json.loads(line) for line in (folder / "votes.jsonl").read_text().splitlines()]
    assert [vote["comment"] for vote in votes if vote["place"] == 1] == ["", "abt: so it is"] * 5


def test_ratings_by_keyboard_and_by_mouse(tmp_path: Path, visit: Callable[..., object]) -> None:
    run = make_run(tmp_path / "run", 3)
    with serving(run, "--annotators", 1, "--mode", "rating") as served:
        page = visit(links(served)[0])
        press(page, "Enter", place(1))
        page.wait_for_timeout(350)
        page.keyboard.press("b")
        press(page, "d", place(2))
        page.get_by_label("Acceptable").nth(0).check()
        page.get_by_label("Correct").nth(1).check()
        page.get_by_role("button", name="Save").click()
        page.locator(place(3)).wait_for()
        press(page, "s", "h1:text('All done')")
    assert annotate(run, "--close").returncode == 0
    votes = (run / "evaluate" / "annotation" / "votes.jsonl").read_text().splitlines()
    assert [json.loads(vote)["choice"] for vote in votes] == ["BD", "BA", "skip"]


@pytest.mark.parametrize("mode", ["compare", "rating"])
def test_axe_finds_nothing_and_a_phone_has_room(tmp_path: Path, visit: Callable[..., object], mode: str) -> None:
    axe = part("axe_playwright_python.sync_playwright", "axe-playwright-python").Axe()
    run = make_run(tmp_path / "run", 4, {"student": MARKDOWN, "base": "word " * 80 + "https://example.org/" + "x" * 90})

    def check(page: object, state: str) -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found = axe.run(page, options=RULES)
            assert found.violations_count == 0, f"{state}, {scheme}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]

    with serving(run, "--annotators", 2, "--mode", mode) as served:
        for width, link in zip((390, 1280), links(served), strict=True):
            page = visit(link, width)
            check(page, "welcome")
            press(page, "Enter", place(1))
            check(page, "first")
            page.wait_for_timeout(350)
            page.keyboard.press("n")
            page.keyboard.type("a comment")
            check(page, "comment")
            page.keyboard.press("Escape")
            assert "bad" not in page.title()
            assert page.locator("main img, main script").count() == 0
            press(page, "s", place(2))
            check(page, "second")
            press(page, "p", "h1:text('Paused')")
            check(page, "paused")
            press(page, "Enter", place(2))
            for number in (2, 3, 4):
                press(page, "s", place(number + 1) if number < 4 else "h1:text('All done')")
            check(page, "done")
            page.goto(link[:-1])
            check(page, "no such link")
        assert annotate(run, "--close").returncode == 0
        page.goto(link)
        check(page, "closed")
    page = visit((run / "evaluate" / "annotation" / "report.html").as_uri())
    check(page, "report")
