"""The system's Chromium on a served page, and what a visitor does there."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import missing_part

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]


def part(module: str, package: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError:
        missing_part(f"needs {package} (pip install -e '.[dev]')")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if not CHROMIUM.exists():
        missing_part("needs Chromium at /usr/bin/chromium (apt-get install chromium)")
    sync_api = part("playwright.sync_api", "playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: object, start: Callable[..., object]) -> Iterator[Callable[..., object]]:
    """`visit(engine)` serves it and opens the page with the terms accepted; scripts' errors fail the test."""
    contexts, errors, foreign = [], [], []

    def open_page(engine: object = None, accept: bool = True, **options: object) -> object:
        served = start(engine, **options)
        context = browser.new_context(viewport={"width": 390, "height": 844})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.served = served
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if "Content Security Policy" in m.text else None)
        page.on("request", lambda r: foreign.append(r.url) if not r.url.startswith(served.url) else None)
        page.goto(served.url)
        if accept:
            page.get_by_role("button", name="I accept").click()
            page.locator("#question:not([readonly])").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert foreign == []


def ask(page: object, text: str = "Say hello") -> None:
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")


def wait_for_text(page: object, text: str) -> None:
    page.locator(".prose").last.filter(has_text=text).wait_for()


def finished(page: object, number: int = 1) -> object:
    answer = page.locator(".answer").nth(number - 1)
    answer.locator("footer").wait_for()
    return answer
