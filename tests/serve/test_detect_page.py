"""/detect as a visitor and as a program meet it: the server, its own mark, and the system's Chromium."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer

from pacos.guard import open_moderation
from pacos.serve.answering import Answers
from pacos.serve.app import make_app
from pacos.serve.chat_page import PageOptions
from pacos.serve.detect_page import MAX_CHARACTERS
from pacos.serve.marking import Canary, verdict_by
from pacos.serve.model import ServedModel
from pacos.serve.page_store import PageStore
from pacos.serve.page_stream import Speaker
from pacos.serve.reports import ReportBox
from pacos.serve.run import OWN_TERMS
from pacos.watermark import TextDetector, Watermark, WatermarkSettings
from pacos.web.people import COOKIE, People, load_terms
from tests.serve.browsing import part
from tests.serve.conftest import ScriptedEngine, Served, eventually, mini_tokens, running
from tests.serve.test_chat_page import Visitor


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[SimpleNamespace]:
    """A server with a mark, a text that carries it and one that does not."""
    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    settings = WatermarkSettings(scheme="lefthash", delta=6.0, vocab_size=tokenizer.get_vocab_size())
    detector = TextDetector(tiny_model, settings)
    database = tmp_path_factory.mktemp("serve") / "store.sqlite"
    with (
        closing(People(database, load_terms(OWN_TERMS))) as people,
        closing(ReportBox(database)) as reports,
        closing(PageStore(database)) as store,
    ):
        model = ServedModel("tiny", "nowhere", "ab" * 32, 400, 2048, False, False, 1)
        engine = ScriptedEngine()
        answers = Answers(engine, model, open_moderation("off"), mini_tokens())
        speaker = Speaker(answers, verdict_by(detector))
        with running(make_app(speaker, people, reports, PageOptions(store, True), detector=detector)) as url:
            marked, plain = (written(mark, tokenizer) for mark in (settings.watermark(), None))
            yield SimpleNamespace(
                url=url, marked=marked, plain=plain, detector=detector, settings=settings, engine=engine
            )


def written(mark: Watermark | None, tokenizer: Tokenizer, num_tokens: int = 200) -> str:
    """Letters and blanks, one token each, drawn evenly, marked or not."""
    ids = torch.tensor([tokenizer.token_to_id(letter) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZqxzjkvwy"])
    logits = torch.full((1, tokenizer.get_vocab_size()), -torch.inf)
    logits[0, ids] = 0.0
    torch.manual_seed(0)
    text = ids[None, :1]
    while text.shape[1] < num_tokens:
        marked = mark.apply(text, logits) if mark else logits
        text = torch.cat([text, torch.multinomial(marked.softmax(-1), 1)], dim=1)
    return tokenizer.decode(text[0].tolist())


def post(site: SimpleNamespace, body: object, cookie: str = "") -> tuple[int, dict]:
    headers = {"Content-Type": "application/json"} | ({"Cookie": f"{COOKIE}={cookie}"} if cookie else {})
    request = urllib.request.Request(f"{site.url}/detect", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_api_says_what_it_found_token_by_token(site: SimpleNamespace) -> None:
    status, found = post(site, {"text": site.marked})
    assert (status, found["verdict"], found["passage"]) == (200, "watermarked", None)
    assert found["p_value"] <= found["max_false_alarm_rate"]
    assert "".join(token["text"] for token in found["tokens"]) == site.marked
    assert sum(token["green"] is True for token in found["tokens"]) == found["green"]
    assert sum(token["green"] is not None for token in found["tokens"]) == found["scored"]
    assert post(site, {"text": site.plain})[1]["verdict"] == "no watermark found"
    assert post(site, {"text": site.marked[:20]})[1]["verdict"] == "insufficient text"


def test_a_marked_passage_among_other_text_is_found_and_named(site: SimpleNamespace) -> None:
    text = site.plain * 2 + site.plain[::-1] * 2 + site.marked[:120] + site.plain[50:] + site.plain[::-3]
    _, found = post(site, {"text": text})
    assert found["verdict"] == "watermarked"
    start, end = found["passage"]["start"], found["passage"]["end"]
    inside = len(range(max(start, text.index(site.marked[:120])), min(end, text.index(site.marked[:120]) + 120)))
    assert inside > 0.7 * (end - start)


def test_the_badge_of_an_answer_says_what_detect_says_of_it(site: SimpleNamespace) -> None:
    # Invisible characters hide the mark from who reads the text as it is.
    text = "\u200b".join(site.marked)
    assert site.detector.detect_unchanged(text).verdict != "watermarked"
    visitor = Visitor(site)
    visitor.accept()
    for answer, verdict in ((text, "watermarked"), (site.plain, "no watermark found")):
        site.engine.pieces = [answer]
        badge = visitor.ask()[1][-1]["mark"]
        assert badge == visitor_verdict(visitor, answer) == verdict


def visitor_verdict(visitor: Visitor, text: str) -> str:
    return json.loads(visitor.send("POST", "/detect", {"text": text})[1])["verdict"]


def test_what_cannot_be_examined_is_refused_in_openais_shape(site: SimpleNamespace) -> None:
    for body in ({}, {"text": ""}, {"text": 7}, {"text": "x" * (MAX_CHARACTERS + 1)}, ["text"], "text"):
        status, answer = post(site, body)
        assert status == 400, body
        assert answer["error"]["message"]
    assert post(site, {"text": "\ud800 lone"})[0] in (200, 400)
    assert post(site, {"text": "🙂é漢字\u0000<script>" * 30})[0] == 200


def test_one_session_may_not_ask_without_end(site: SimpleNamespace) -> None:
    statuses = [post(site, {"text": "again"}, cookie="one")[0] for _ in range(15)]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert post(site, {"text": "again"}, cookie="another")[0] == 200


def test_a_long_text_counts_as_many(start: Callable[..., Served], site: SimpleNamespace) -> None:
    statuses = [post(site, {"text": "again " * 3000}, cookie="long")[0] for _ in range(2)]
    assert statuses == [200, 429]


@pytest.fixture
def page(browser: object, site: SimpleNamespace) -> Iterator[object]:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page, errors = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(f"{site.url}/detect")
    yield page
    context.close()
    assert errors == []


def look(page: object, text: str) -> str:
    page.get_by_label("Text to examine").fill(text)
    page.get_by_label("Text to examine").press("Tab")
    page.keyboard.press("Enter")
    page.locator("#finding:not([hidden])").wait_for()
    page.locator("#look:not([disabled])").wait_for()
    return page.locator("#verdict").inner_text()


def test_the_page_tells_the_three_verdicts_and_marks_the_words(page: object, site: SimpleNamespace) -> None:
    assert look(page, site.marked) == "This text carries the mark"
    assert page.evaluate("document.activeElement.id") == "verdict"
    assert page.locator("#tokens").inner_text() == site.marked
    line = "element => getComputedStyle(element).textDecorationStyle"
    kinds = [page.locator(f"#tokens .{kind}").first.evaluate(line) for kind in ("green", "red")]
    assert kinds == ["solid", "dotted"]
    assert look(page, site.marked[:20]) == "Too little text to tell"
    assert look(page, site.plain) == "No mark was found"
    assert (
        look(page, site.plain + site.plain[::-1] + site.marked[:120] + site.plain[::3]) == "This text carries the mark"
    )
    assert page.locator("#tokens .passage").count() == 1
    look(page, "<script>window.hit=1</script><img src=x onerror='window.hit=1'> " * 9)
    assert page.evaluate("window.hit") is None


@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_leads_to_detect_and_to_the_keys(
    page: object, site: SimpleNamespace, visit: Callable[..., object], width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    for start, name, heading in (("/terms", "Detect", "Was it written here?"), ("/detect", "API keys", "Terms of use")):
        page.goto(site.url + start)
        if width == 390:
            assert not page.get_by_role("link", name=name).is_visible()
            page.get_by_role("button", name="Menu").press("Enter")
        page.get_by_role("link", name=name).press("Enter")
        page.get_by_role("heading", name=heading).wait_for()
    chat = visit()
    chat.get_by_role("button", name="Menu").press("Enter")
    assert chat.get_by_role("link", name="API keys").is_visible()
    assert chat.get_by_role("link", name="Detect").count() == 0, "this server has no detector"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_and_nothing_lies_beyond_the_edge(
    page: object, site: SimpleNamespace, scheme: str, width: int
) -> None:
    axe = part("axe_playwright_python.sync_playwright", "axe-playwright-python").Axe()
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 844})
    assert axe.run(page).violations_count == 0
    look(page, site.plain + site.plain[::-1] + site.marked[:120] + site.plain[::3])
    result = axe.run(page)
    assert result.violations_count == 0, result.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_canary_counts_long_answers_and_those_without_the_mark(site: SimpleNamespace) -> None:
    canary = Canary(site.detector)
    answers = Answers(ScriptedEngine(), None, open_moderation("off"), mini_tokens(), on_end=canary.on_end)
    for text in (site.marked, site.plain, site.marked[:60], "", site.marked):
        answers.on_end(text)
    assert eventually(lambda: canary.checked == 3)
    canary.close()
    assert (canary.checked, canary.missing) == (3, 1)


def test_every_whole_answer_is_told(start: Callable[..., Served]) -> None:
    told: list[str] = []
    served = start(ScriptedEngine(["Hello ", "there."]), on_end=told.append)
    body = json.dumps({"model": "tiny", "prompt": "x"}).encode()
    request = urllib.request.Request(f"{served.url}/v1/completions", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request).read()
    assert told == ["Hello there."]
