"""The page by the keyboard alone, on a phone, to axe in every state, and by weight, in the system's Chromium."""

from collections.abc import Callable

import pytest

from tests.serve.browsing import ask, finished, part, wait_for_text
from tests.serve.conftest import ScriptedEngine

ANSWER = "# Title\n\n- a\n- [b](https://example.org)\n\n| a | b |\n|-|-|\n| 1 | 2 |\n\n```py\nx = 1  # one\n```\n"
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    # Of WCAG 2.2, and off unless asked for.
    "rules": {"target-size": {"enabled": True}},
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_on_any_page_or_state(visit: Callable[..., object], scheme: str, width: int) -> None:
    axe = part("axe_playwright_python.sync_playwright", "axe-playwright-python").Axe()
    engine = ScriptedEngine([ANSWER])
    page = visit(engine, accept=False, rival=ScriptedEngine([ANSWER]))
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")

    def check(state: str) -> None:
        # So tall that nothing lies half under the page's bars, where axe calls a button too small.
        page.set_viewport_size({"width": width, "height": 5000})
        found = axe.run(page, options=RULES)
        page.set_viewport_size({"width": width, "height": 844})
        assert found.violations_count == 0, f"{state}: {found.generate_report()}"

    def press(name: str) -> None:
        page.get_by_role("button", name=name, exact=True).last.click()

    check("terms")
    press("I accept, begin")
    page.locator("#question:not([readonly])").wait_for()
    check("empty")
    if width == 390:
        press("Menu")
        check("menu")
        page.keyboard.press("Escape")
    ask(page)
    finished(page)
    press("Regenerate")
    page.locator(".answer .versions").wait_for()
    finished(page)
    check("answered, with versions")
    page.locator(".edit").click()
    check("editing")
    page.keyboard.press("Escape")
    for name, leave in (("Settings", "Done"), ("Report", "Cancel")):
        press(name)
        check(name)
        press(leave)
    press("Share")
    check("share")
    page.get_by_label("Store this conversation").check()
    press("Create link")
    page.locator("#share-done").wait_for()
    check("shared link")
    link = page.get_by_label("The link", exact=True).input_value()
    press("Close")
    page.get_by_label("Side by side").check()
    ask(page)
    page.locator(".vote").wait_for()
    check("vote")
    press("A")
    page.locator(".outcome").wait_for()
    check("voted")
    engine.pieces, engine.pause_seconds = ["slow "] * 400, 0.05
    page.get_by_label("Side by side").uncheck()
    ask(page)
    wait_for_text(page, "slow")
    check("streaming")
    press("Stop")
    engine.failure = RuntimeError("told to fail")
    engine.pieces = ["One."]
    ask(page)
    page.locator(".answer .problem:visible").wait_for()
    check("failed")
    for path in (link, f"{page.served.url}/terms", f"{page.served.url}/nothing"):
        page.goto(path)
        check(path)


def tab_to(page: object, name: str) -> None:
    """Tabs until what has the focus is called so."""
    called = """() => {
        const at = document.activeElement;
        return (at.getAttribute("aria-label") ?? at.labels?.[0]?.innerText ?? at.innerText ?? "").trim();
    }"""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(called) == name:
            # A message box is marked by the frame around it.
            marked = "document.activeElement.closest('.composer, .editor') ?? document.activeElement"
            outline = page.evaluate(f"getComputedStyle({marked}).outlineStyle")
            assert outline == "solid", f"{name} has the focus, and nothing shows it"
            return
    raise AssertionError(f"{name} cannot be reached by Tab")


def test_keyboard_alone_does_everything(visit: Callable[..., object]) -> None:
    engine = ScriptedEngine(["word "] * 600)
    page = visit(engine, accept=False, rival=ScriptedEngine(["Other."]))
    keys = page.keyboard
    tab_to(page, "Skip to content")
    tab_to(page, "I accept, begin")
    keys.press("Enter")
    page.locator("#question:not([readonly])").wait_for()
    keys.type("one")
    keys.press("Shift+Enter")
    keys.type("two")
    keys.press("Enter")
    finished(page)
    assert "one\ntwo" in engine.requests[0].prompt
    assert page.evaluate("document.activeElement.id") == "question"
    tab_to(page, "Settings")
    keys.press("Enter")
    page.get_by_role("dialog").wait_for()
    keys.press("Escape")
    engine.pieces = ["end."]
    tab_to(page, "Continue")
    keys.press("Enter")
    wait_for_text(page, "end.")
    finished(page)
    tab_to(page, "Regenerate")
    keys.press("Enter")
    page.locator(".answer .versions").wait_for()
    finished(page)
    tab_to(page, "Previous version")
    keys.press("Enter")
    assert page.locator(".answer .place").inner_text() == "1/2"
    tab_to(page, "Edit")
    keys.press("Enter")
    keys.type(" three")
    keys.press("Enter")
    page.locator(".question .versions").wait_for()
    finished(page)
    assert "one\ntwo three" in engine.requests[-1].prompt
    tab_to(page, "Side by side with rival")
    keys.press("Space")
    tab_to(page, "Your message")
    keys.type("Which?")
    keys.press("Enter")
    page.locator(".vote").wait_for()
    tab_to(page, "Both alike")
    keys.press("Enter")
    page.locator(".outcome").wait_for()
    assert page.served.rows("serve_votes")[0]["choice"] == "tie"
    tab_to(page, "Side by side with rival")
    keys.press("Space")
    tab_to(page, "Share")
    keys.press("Enter")
    tab_to(page, "Store this conversation and show it to anyone with the link.")
    keys.press("Space")
    keys.press("Enter")
    page.locator("#share-done").wait_for()
    keys.press("Escape")
    engine.pieces, engine.pause_seconds = ["slow "] * 400, 0.05
    tab_to(page, "Your message")
    keys.type("Long")
    keys.press("Enter")
    wait_for_text(page, "slow")
    keys.press("Escape")
    assert page.locator(".note").last.filter(has_text="Stopped").count() == 1


def test_phone_has_room_for_everything(visit: Callable[..., object]) -> None:
    page = visit(ScriptedEngine(["word "] * 600), rival=ScriptedEngine(["Other."]), takes_conversation=True)
    wide = "document.documentElement.scrollWidth"
    for number in (1, 2):
        ask(page, "A question of some length, which takes more than one line on a phone")
        finished(page, number)
    page.get_by_role("button", name="Regenerate").last.click()
    page.locator(".answer .versions").last.wait_for()
    finished(page, 2)
    assert page.evaluate(wide) == 390
    page.get_by_label("Side by side").check()
    ask(page, "Which?")
    page.locator(".vote").wait_for()
    assert page.evaluate(wide) == 390
    upper, lower = (page.locator(".side").nth(i).bounding_box() for i in (0, 1))
    assert lower["y"] >= upper["y"] + upper["height"]
    for name in ("Settings", "Share"):
        page.get_by_role("button", name=name, exact=True).last.click()
        box = page.get_by_role("dialog").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["y"] + box["height"] <= 844
        page.keyboard.press("Escape")
    # What a thumb has to hit is not hidden behind the message box.
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    last, dock = page.locator(".pair").bounding_box(), page.locator(".dock").bounding_box()
    assert last["y"] + last["height"] <= dock["y"] + 1


def test_page_is_light_and_paints_at_once(visit: Callable[..., object]) -> None:
    page = visit()
    sizes: list[int] = []
    page.on("response", lambda response: sizes.append(sum(response.request.sizes().values())))
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    page.reload()
    page.locator("#question:not([readonly])").wait_for()
    page.wait_for_load_state("networkidle")
    assert 10_000 < sum(sizes) < 150_000
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    assert page.evaluate(paint) < 1000
