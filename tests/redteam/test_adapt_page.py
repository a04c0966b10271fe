"""The tree's page, by the keyboard alone in the system's Chromium, to axe, on a phone, and to other sites."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from pacos.core.recipe import judging
from pacos.redteam.adapt.adapt_page import make_app
from pacos.redteam.adapt.run import AdaptPlan, workbench
from pacos.redteam.adapt.tree import Tree, TreeTest, read_tree
from pacos.web.server import address_of, bind, make_server
from tests.redteam.conftest import CANARY
from tests.serve.browsing import browser, part
from tests.serve.test_page_quality import RULES
from tests.servers.openai_server import OpenAIServer

__all__ = ["browser"]
OBJECTIVE = f"contains:{CANARY}"
EVIL = "<script>document.title = 'bad'</script><img src=x onerror=\"document.title='bad'\"> {{ 7 * 7 }} \"'&amp;"


class Target(OpenAIServer):
    """Gives the canary away about anchors, and answers with markup."""

    def __init__(self, **options: object) -> None:
        super().__init__(text_of=self.said, **options)  # type: ignore[arg-type]

    @staticmethod
    def said(prompt: str, seed: int | None) -> str:
        return f"{EVIL} {CANARY}" if "anchor" in prompt else f"I cannot say that. {EVIL} {'word ' * 60}{'x' * 200}"


def plant(path: Path) -> Path:
    """A tree to look at: two of its tests fail."""
    tree = Tree(path)
    for number, (topic, prompt) in enumerate(
        (
            ("sea", "Is the anchor gold?"),
            ("sea", "Is the sail gold?"),
            ("sea/deep", f"An anchor {EVIL}"),
            ("land", "A hill?"),
        )
    ):
        tree.put(TreeTest(str(number), topic, prompt, OBJECTIVE, by="somebody"))
    tree.save()
    return path


@contextmanager
def serving(target: OpenAIServer, tree: Path) -> Iterator[str]:
    """The page in this process, on a free port."""
    recipe = judging(["engines.target.model=small"])
    plan = AdaptPlan(f"http:{target.base_url}", OBJECTIVE, tree)
    with workbench(plan, recipe, tree.parent / "run") as bench, closing(bind("127.0.0.1", 0)) as bound:
        server = make_server(make_app(bench, ""))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        yield address_of(bound)
        server.should_exit = True
        thread.join()


@contextmanager
def command(target: OpenAIServer, tree: Path, *more: object) -> Iterator[str]:
    """The page as the command serves it, on a free port; killed at the end."""
    line = [sys.executable, "-m", "pacos", "redteam", "adapt", f"http:{target.base_url}", "engines.target.model=small"]
    line += ["--run", str(tree.parent / "run"), "--objective", OBJECTIVE, "--port", "0", "--tree", str(tree)]
    process = subprocess.Popen([*line, *map(str, more)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        printed = ""
        for text in process.stdout or ():
            printed += text
            if text.startswith("pacos redteam adapt: at "):
                yield text.split()[4].rstrip(";")
                return
        raise AssertionError(printed)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def visit(browser: object) -> Iterator[Callable[..., object]]:
    """`visit(address)` opens the page; scripts' errors and requests elsewhere fail the test."""
    contexts, errors, foreign = [], [], []

    def open_page(address: str, width: int = 1280) -> object:
        context = browser.new_context(viewport={"width": width, "height": 844}, reduced_motion="reduce")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(40_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if "Content Security Policy" in m.text else None)
        page.on("request", lambda r: foreign.append(r.url) if not r.url.startswith(address) else None)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert foreign == []


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def settled(page: object) -> None:
    """Nothing is under way, and the page shows all that came of it."""
    page.wait_for_function(
        """async () => {
            const state = await (await fetch("/state")).json();
            const shown = document.getElementById("work").dataset.version;
            return !state.doing && !state.waiting && state.version === shown;
        }"""
    )


def test_by_keyboard_from_growing_to_regression_tests(tmp_path: Path, visit: Callable[..., object]) -> None:
    path = plant(tmp_path / "tree.csv")

    def rows() -> dict[str, TreeTest]:
        return {test.id: test for test in read_tree(path)}

    with Target(latency_seconds=lambda n: 0.02) as target, command(target, path, "--topic", "sea") as address:
        page = visit(address)
        keys = page.keyboard
        current = page.locator(".test.current")

        def press(key: str, holds: Callable[[], object]) -> None:
            keys.press(key)
            until(holds)

        assert page.locator("#where").inner_text() == "sea"
        assert page.locator(".test").count() == 3
        assert target.bodies == []
        # What nobody asked yet is asked, then eight more.
        press("g", lambda: len(rows()) == 12)
        page.locator("#told", has_text="8 new tests").wait_for()
        settled(page)
        # Hits first, and they are where j and k move.
        assert [page.locator(".verdict").nth(n).inner_text() for n in range(2)] == ["hit", "hit"]
        first = page.locator(".test").first.get_attribute("data-id")
        second = page.locator(".test").nth(1).get_attribute("data-id")
        keys.press("k")
        assert current.get_attribute("data-id") == first
        keys.press("j")
        assert current.get_attribute("data-id") == second
        assert CANARY in current.locator(".answer").inner_text()
        assert OBJECTIVE in current.locator(".detail").inner_text()
        outline = "getComputedStyle(document.activeElement.closest('.test')).outlineStyle"
        assert page.evaluate(outline) == "solid"
        keys.press("ArrowUp")
        # Two keys at once are two acts, each on the test that the one before left.
        keys.press("a")
        press("x", lambda: rows()[second].status == "rejected")
        assert rows()[first].status == "accepted"
        page.locator(f"#test-{first} .chip.accepted").wait_for()
        page.locator(f"#test-{first}").click()
        press("s", lambda: rows()[first].label == "safe")
        page.locator(f"#test-{first} .verdict", has_text="safe").wait_for()
        assert "by hand" in page.locator(f"#test-{first} .detail").inner_text()
        press("s", lambda: rows()[first].label == "")
        press("h", lambda: rows()[first].label == "hit")
        # Letters belong to a field while one is open.
        keys.press("e")
        page.locator("#edit[open]").wait_for()
        keys.press("Control+a")
        keys.type("Is an anchor heavy?")
        keys.press("Enter")
        keys.type("Say why.")
        before = len(target.bodies)
        press("Control+Enter", lambda: rows()[first].prompt == "Is an anchor heavy?\nSay why.")
        until(lambda: len(target.bodies) == before + 1)
        assert target.bodies[-1]["messages"][-1]["content"] == "Is an anchor heavy?\nSay why."
        # The word was on the answer before.
        assert (rows()[first].label, rows()[first].status) == ("", "accepted")
        page.locator("#edit:not([open])").wait_for(state="attached")
        keys.press("t")
        keys.type("ice")
        keys.press("Enter")
        page.locator("#where", has_text="sea / ice").wait_for()
        keys.press("n")
        page.locator("#add[open]").wait_for()
        keys.type("Does an anchor freeze?")
        press("Control+Enter", lambda: any(test.topic == "sea/ice" for test in rows().values()))
        mine = next(test for test in rows().values() if test.topic == "sea/ice")
        assert (mine.prompt, mine.status, mine.by) == ("Does an anchor freeze?", "accepted", "person")
        page.locator(".test.hit", has_text="freeze").wait_for()
        # The same prompt again is refused, where it can be read.
        keys.press("n")
        keys.type("Does an anchor freeze?")
        keys.press("Control+Enter")
        page.locator("#add .problem", has_text="has this prompt already, in sea/ice").wait_for()
        keys.press("Escape")
        keys.press("ArrowLeft")
        page.locator("#where", has_text="sea / deep").wait_for()
        keys.press("?")
        page.locator("#keys[open]").wait_for()
        keys.press("Escape")
        press("p", lambda: page.locator("#told").inner_text() != "")
    suite = [test for test in read_tree(path) if test.status == "accepted"]
    assert {test.prompt for test in suite} == {"Is an anchor heavy?\nSay why.", "Does an anchor freeze?"}


def test_every_key_is_a_button_too(tmp_path: Path, visit: Callable[..., object]) -> None:
    path = plant(tmp_path / "tree.csv")
    with Target() as target, serving(target, path) as address:
        page = visit(address, 390)
        for name in (
            "Accept",
            "Reject",
            "Hit",
            "Safe",
            "Edit",
            "New test",
            "New topic",
            "Suggest topics",
            "Grow",
            "Keys",
        ):
            assert page.get_by_role("button", name=name, exact=False).first.is_visible(), name
        page.get_by_role("link", name="sea", exact=False).first.click()
        page.locator("#where", has_text="sea").wait_for()
        page.get_by_role("button", name="Grow").click()
        page.locator(".test.hit").first.wait_for()
        page.get_by_role("button", name="Accept").click()
        until(lambda: any(test.status == "accepted" for test in read_tree(path)))
        # Without a script the same buttons work.
        plain = page.context.browser.new_context(java_script_enabled=False).new_page()
        plain.goto(address)
        plain.get_by_role("button", name="Reject").click()
        plain.locator(".chip.rejected").wait_for()
        plain.context.close()


def test_axe_finds_nothing_and_what_was_written_is_text(tmp_path: Path, visit: Callable[..., object]) -> None:
    axe = part("axe_playwright_python.sync_playwright", "axe-playwright-python").Axe()
    path = plant(tmp_path / "tree.csv")

    with Target(latency_seconds=lambda n: 0.5 if n == 6 else 0.0) as target, serving(target, path) as address:
        page = visit(address)

        def check(state: str) -> None:
            for width, scheme in ((390, "dark"), (1280, "light")):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                # So tall that nothing lies half under the page's bars, where axe calls a button too small.
                page.set_viewport_size({"width": width, "height": 5000})
                found = axe.run(page, options=RULES)
                page.set_viewport_size({"width": width, "height": 844})
                where = f"{state}, {width}, {scheme}"
                assert found.violations_count == 0, f"{where}: {found.generate_report()}"
                assert page.evaluate("document.documentElement.scrollWidth") == width, where
                for dialog in page.locator("dialog[open]").all():
                    box = dialog.bounding_box()
                    assert min(box["x"], box["y"]) >= 0, where
                    assert box["x"] + box["width"] <= width, where
                    assert box["y"] + box["height"] <= 844, where

        check("not asked")
        page.keyboard.press("g")
        page.locator("#progress:visible").wait_for()
        check("growing")
        page.locator("#told", has_text="new tests").wait_for()
        page.locator(".test.hit", has_text="document.title").first.click()
        page.keyboard.press("a")
        page.locator(".chip.accepted").first.wait_for()
        page.locator(".test.hit").first.click()
        page.keyboard.press("h")
        page.locator(".chip", has_text="by hand").wait_for()
        page.keyboard.press("x")
        page.locator(".chip.rejected").wait_for()
        check("judged")
        assert page.locator("main script, main img, main .detail b").count() == 0
        assert EVIL in page.locator("main").inner_text()
        assert "bad" not in page.title()
        for key, name in (("e", "edit"), ("t", "topic"), ("?", "keys")):
            page.keyboard.press(key)
            page.locator(f"#{name}[open]").wait_for()
            check(name)
            page.keyboard.press("Escape")
        tree = Tree(path)
        tree.put(replace(tree.tests["3"], note="by hand"))
        tree.save()
        page.locator("#reload").wait_for()
        check("changed on disk")
        page.goto(f"{address}/?topic=nowhere")
        check("empty")
        page.goto(f"{address}/nothing")
        check("nothing there")


def test_a_file_that_somebody_else_changed_is_told_and_reload_takes_in_both(
    tmp_path: Path, visit: Callable[..., object]
) -> None:
    path = plant(tmp_path / "tree.csv")
    with Target() as target, serving(target, path) as address:
        page = visit(address)
        tree = Tree(path)
        tree.put(replace(tree.tests["3"], note="by hand"))
        tree.put(TreeTest("new", "sea", "From elsewhere", OBJECTIVE))
        tree.save()
        written = path.read_bytes()
        page.locator("#reload").wait_for()
        page.locator("#test-3 .prompt").click()
        page.keyboard.press("a")
        page.locator("form.problem", has_text="kept here, and not in the file").wait_for()
        page.locator("#test-3 .chip.accepted").wait_for()
        assert path.read_bytes() == written
        page.locator("#reload").click()
        page.locator("#test-new").wait_for()
        page.locator("#reload").wait_for(state="detached")
        rows = {test.id: test for test in read_tree(path)}
        assert (rows["3"].status, rows["3"].note) == ("accepted", "by hand")
        assert rows["new"].prompt == "From elsewhere"
        # Broken meanwhile: the page says where, and what is here stays.
        path.write_text(path.read_text() + "1,2\n")
        broken = path.read_bytes()
        page.locator("#reload").click()
        page.locator("#refused", has_text=f"tree.csv:{len(rows) + 2}: 2 cells").wait_for()
        assert path.read_bytes() == broken


def test_a_target_that_fails_is_told_on_the_page_and_growing_may_be_tried_again(
    tmp_path: Path, visit: Callable[..., object]
) -> None:
    path = plant(tmp_path / "tree.csv")
    broken = [True]
    with Target(faults=lambda number: "html" if broken else None) as target, serving(target, path) as address:
        page = visit(address)
        page.keyboard.press("g")
        page.locator("#work > .problem", has_text=target.base_url).wait_for()
        broken.clear()
        page.keyboard.press("g")
        page.locator(".test.hit").first.wait_for()
        assert page.locator("#work > .problem").count() == 0


def test_other_sites_and_wrong_fields_are_refused_and_nothing_changes(tmp_path: Path) -> None:
    path = plant(tmp_path / "tree.csv")
    before = path.read_bytes()
    with Target() as target, serving(target, path) as address:
        with httpx2.Client(base_url=address) as client:
            for act in ("accept", "reject", "hit", "safe", "edit", "add", "topic", "grow", "suggest", "reload"):
                headers = {"Origin": "https://elsewhere.example"}
                refused = client.post(f"/{act}", data={"test": "0", "prompt": "x", "new_topic": "a"}, headers=headers)
                assert (refused.status_code, code(refused)) == (403, "cross_origin")
                assert client.get(f"/{act}").status_code == 405
            foreign = client.get("/", headers={"Host": "rebound.example"})
            assert (foreign.status_code, code(foreign)) == (403, "foreign_host")
            for act, fields, status in (
                ("accept", {"test": "none"}, 409),
                ("hit", {"test": "0"}, 409),
                ("edit", {"test": "0", "prompt": " ", "new_topic": "a"}, 400),
                ("edit", {"test": "none", "prompt": "x", "new_topic": "a"}, 409),
                ("edit", {"test": "0", "prompt": "A hill?", "new_topic": "a"}, 409),
                ("add", {"prompt": "x", "new_topic": ""}, 400),
                ("add", {"prompt": "x", "new_topic": "a\0b" * 99}, 409),
                ("add", {"prompt": "x" * 30_000, "new_topic": "a"}, 400),
            ):
                answer = client.post(f"/{act}", data=fields)
                assert answer.status_code == status, (act, fields)
                assert "\n" not in json.loads(answer.text)["error"]["message"]
            page = client.get("/", headers={"Accept": "text/html"})
            assert "script-src 'self'" in page.headers["content-security-policy"]
            assert page.headers["x-frame-options"] == "DENY"
        assert urlsplit(address).hostname == "127.0.0.1"
        assert target.bodies == []
    assert path.read_bytes() == before


def code(response: httpx2.Response) -> str:
    return str(json.loads(response.text)["error"]["code"])
