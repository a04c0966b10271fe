"""The pages beside the chat in the system's Chromium: keys, deletion of a report, review; on a phone and at a desk."""

import json
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.serve.browsing import ask, finished, part
from tests.serve.conftest import Served
from tests.serve.test_review import HOSTILE, PASSWORD, report

SIZES = {"phone": (390, 844), "desk": (1280, 800)}


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, browser: object, start: Callable[..., Served]) -> Iterator[object]:
    """A page of a server with a review password; scripts' errors and what the policy blocked fail the test."""
    width, height = SIZES[request.param]
    context = browser.new_context(viewport={"width": width, "height": height})
    page, problems = context.new_page(), []
    page.set_default_timeout(20_000)
    page.served = start(review_password=PASSWORD)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda m: problems.append(m.text) if "Content Security Policy" in m.text else None)
    yield page
    context.close()
    assert problems == []


def check(page: object) -> None:
    """No axe violation in either colour scheme, and nothing beyond the right edge."""
    axe = part("axe_playwright_python.sync_playwright", "axe-playwright-python").Axe()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_keys_by_keyboard(page: object) -> None:
    page.goto(f"{page.served.url}/keys")
    page.get_by_role("button", name="I accept").press("Enter")
    page.get_by_role("heading", name="API keys").wait_for()
    check(page)
    page.get_by_role("button", name="Get a key").press("Enter")
    key = page.locator("#new-key").inner_text()
    check(page)
    answer = page.request.get(f"{page.served.url}/v1/models", headers={"Authorization": f"Bearer {key}"})
    assert answer.status == 200
    page.get_by_role("button", name="Revoke").press("Enter")
    page.get_by_role("button", name="Get a key").wait_for()
    assert page.locator("#new-key").count() == 0
    answer = page.request.get(f"{page.served.url}/v1/models", headers={"Authorization": f"Bearer {key}"})
    assert answer.status == 401


def test_review_by_keyboard(page: object) -> None:
    served = page.served
    report(served, HOSTILE, HOSTILE, f"{HOSTILE}\n\n</div></li></ol>{'x' * 300}")
    report(served, "A second one", consent=False, transcript=[])
    page.goto(f"{served.url}/review")
    check(page)
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    check(page)
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Reports", exact=True).wait_for()
    check(page)
    # What people wrote is text: in the comment, the question and the answer.
    assert [text.split("\n")[0] for text in page.locator(".said").all_inner_texts()] == [
        "A second one", HOSTILE, HOSTILE, HOSTILE,
    ]  # fmt: skip
    page.get_by_label("Label of report 1").fill(HOSTILE[:60])
    page.get_by_label("Note on report 1").fill(HOSTILE)
    page.get_by_role("button", name="Confirm report 1").press("Enter")
    assert page.get_by_role("status").inner_text() == "Report 1 is now confirmed."
    assert page.locator(".report").count() == 1
    page.get_by_role("link", name="Confirmed 1").press("Enter")
    page.locator("#report-1").wait_for()
    assert page.get_by_label("Note on report 1").input_value() == HOSTILE
    assert page.get_by_label("Label of report 1").input_value() == HOSTILE[:60]
    page.get_by_label("Search").fill("onerror")
    page.keyboard.press("Enter")
    page.locator("#report-1").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export as JSONL", exact=True).press("Enter")
    (line,) = download.value.path().read_text().splitlines()
    assert json.loads(line)["messages"] == [{"role": "user", "content": HOSTILE}]
    page.locator(".delete summary").press("Enter")
    check(page)
    page.get_by_role("button", name="Wipe report 1").press("Enter")
    assert page.get_by_role("status").inner_text() == "Report 1 is now deleted."
    assert [row["transcript"] for row in served.reports()] == [None, None]
    page.get_by_role("button", name="Log out").press("Enter")
    page.get_by_label("Password").wait_for()


def test_reader_deletes_the_report_with_the_code_that_the_chat_showed(visit: Callable[..., object]) -> None:
    page = visit()
    ask(page, "A question")
    finished(page)
    page.get_by_role("button", name="Report").click()
    page.get_by_label("Wrong or misleading").check()
    page.get_by_label("Include the conversation").check()
    page.get_by_role("button", name="Send report").click()
    page.get_by_role("dialog").wait_for(state="hidden")
    words = page.locator(".note").inner_text().split()
    code, path = words[words.index("code") + 1], words[-1].rstrip(".")
    page.goto(page.served.url + path)
    check(page)
    page.get_by_label("Deletion code").fill("1234")
    page.keyboard.press("Enter")
    page.get_by_text("No report has this code").wait_for()
    check(page)
    page.goto(page.served.url + path)
    page.get_by_label("Deletion code").fill(code)
    page.keyboard.press("Enter")
    page.get_by_text("is deleted").wait_for()
    check(page)
    assert urlsplit(page.url).path == "/reports/delete"
    assert [(row["status"], row["transcript"]) for row in page.served.reports()] == [("deleted", None)]
