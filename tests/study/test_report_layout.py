"""The report as a reader sees it in a browser, and what its plots say."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacos.core.records import Example, write_examples
from pacos.evaluate.report import Pairwise
from pacos.generate.audit import audit
from pacos.study.audit_page import write as write_audit
from pacos.study.page.comparison_plots import Judged, pairwise_plot
from pacos.study.page.data_plots import lengths_plot
from pacos.study.page.training_plots import loss_plot
from pacos.study.report_page import write
from tests.conftest import missing_part
from tests.serve.conftest import Starter
from tests.study import made_measures, made_run
from tests.study.made_pairs import make_pairs
from tests.study.made_redteam import make_redteam


def make_report(folder: Path) -> Path:
    run = made_run.make_run(folder / "tiny")
    make_pairs(run / "evaluate", candidates=("student",))
    made_measures.make_measures(run)
    make_redteam(run / "redteam")
    return write(run)


def make_audit(folder: Path) -> Path:
    outputs = [" ".join(["word"] * (1 + n % 40)) for n in range(400)] + [" ".join(["word"] * 2000)] * 3
    records = [Example(f"Write a poem about the number {n}.", "<noinput>", text) for n, text in enumerate(outputs)]
    write_examples(folder / "data.json", records)
    audit(folder / "data.json", folder / "out")
    return write_audit(folder / "out")


@pytest.fixture(scope="module", params=[make_report, make_audit], ids=["report", "audit"])
def page(request, browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    page = browser.new_page()
    page.goto(request.param(tmp_path_factory.mktemp("pages")).as_uri())
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    yield page
    page.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_contents_stay_whole_and_nothing_lies_beyond_the_edge(page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    assert page.locator(".contents").bounding_box()["y"] == 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # No part of a table or of the contents waits to be scrolled to sideways either.
    hidden = page.evaluate("""() => [...document.querySelectorAll(".scroll, .stages, pre")]
        .filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.ariaLabel ?? box.className)""")
    assert hidden == []


LONG_NAMES = ["student", "rival-model-8b-instruct", "./a/long/way/to/the/folder/of/checkpoints/step-2000"]


def test_numbers_above_a_bar_keep_apart_beside_long_names(browser) -> None:
    counts = [Pairwise(194, 6, 14, 0, 0, 0.94, (0.9, 0.96), 0.97, (0.9, 0.99), 0.1) for _ in LONG_NAMES]
    judged = [Judged(name, "harder items", each) for name, each in zip(LONG_NAMES, counts, strict=True)]
    page = browser.new_page()
    page.set_content(f"<div style='width:360px;font-family:DejaVu Sans'>{pairwise_plot(judged, 'base').svg}</div>")
    overlapping = page.evaluate("""() => {
        const texts = [...document.querySelectorAll("svg text")];
        const boxes = texts.map((text) => [text.textContent, text.getBoundingClientRect()]);
        return boxes.flatMap(([one, a], i) => boxes.slice(i + 1)
            .filter(([, b]) => a.left < b.right && b.left < a.right && a.top + 4 < b.bottom && b.top + 4 < a.bottom)
            .map(([other]) => [one, other]));
    }""")
    assert overlapping == []
    page.close()


@pytest.mark.parametrize("width", [360, 720])
@pytest.mark.parametrize("rate", [0.02, 0.431, 0.5, 0.62, 0.98])
def test_the_win_rate_is_whole_wherever_it_stands(browser, rate: float, width: int) -> None:
    ends = (max(rate - 0.07, 0), min(rate + 0.07, 1))
    counts = Pairwise(0, 0, 24, 0, 0, rate, ends, None, None, None)
    judged = [Judged(name, "held-out items", counts) for name in LONG_NAMES]
    page = browser.new_page()
    page.set_content(f"<div style='width:{width}px;font-family:DejaVu Sans'>{pairwise_plot(judged, 'base').svg}</div>")
    assert page.evaluate(CUT) == []
    page.close()


CUT = """() => [...document.querySelectorAll("svg text")].filter((text) => {
    const inner = text.getBoundingClientRect(), outer = text.ownerSVGElement.getBoundingClientRect();
    return inner.left < outer.left - 1 || inner.right > outer.right + 1
        || inner.top < outer.top - 1 || inner.bottom > outer.bottom + 1;
}).map((text) => text.textContent)"""


def test_plots_cut_none_of_their_text(page) -> None:
    page.set_viewport_size({"width": 1280, "height": 844})
    assert page.evaluate(CUT) == []


LOOK = """() => {
    const style = getComputedStyle(document.body);
    return [style.backgroundColor, style.color, style.fontFamily];
}"""


def test_reports_look_as_the_served_pages_do_by_day_and_by_night(page, browser, tmp_path: Path) -> None:
    starter = Starter(tmp_path)
    with starter.stack:
        served = browser.new_page()
        served.goto(starter().url)
        looks = []
        for scheme in ("light", "dark"):
            for each in (page, served):
                each.emulate_media(color_scheme=scheme)
            looks.append(page.evaluate(LOOK))
            assert served.evaluate(LOOK) == looks[-1]
        served.close()
    page.emulate_media(color_scheme="light")
    (light, *_), (dark, *_) = looks
    assert brightness(light) > 200
    assert brightness(dark) < 60


def brightness(colour: str) -> float:
    channels = [int(channel) for channel in re.findall(r"\d+", colour)[:3]]
    return sum(channels) / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, scheme: str) -> None:
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ModuleNotFoundError:
        missing_part("needs axe-playwright-python (pip install -e '.[dev]')")
    page.emulate_media(color_scheme=scheme)
    found = Axe().run(page)
    page.emulate_media(color_scheme="light")
    assert [violation["id"] for violation in found.response["violations"]] == []


def test_every_header_stands_as_its_column_does(page) -> None:
    uneven = page.evaluate("""() => [...document.querySelectorAll("table:has(thead)")].flatMap((table) =>
        [...table.tBodies[table.tBodies.length - 1].rows[0].cells]
            .map((cell, i) => [table.tHead.rows[0].cells[i], cell])
            .filter(([head, cell]) => getComputedStyle(head).textAlign !== getComputedStyle(cell).textAlign)
            .map(([head]) => head.textContent))""")
    assert uneven == []


def shown(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_loss_has_a_logarithmic_axis() -> None:
    svg = loss_plot([1, 2, 3, 4], [8.0, 1.0, 0.1, 0.02], (9.0, 0.3)).svg
    assert {"0.05", "0.5", "5"} <= set(shown(svg))
    assert "logarithmic" in svg
    assert "0.0" in shown(loss_plot([1, 2], [1.0, 0.0], (None, None)).svg)


def test_outlier_is_told_and_not_drawn() -> None:
    svg = lengths_plot({"output": [*range(1, 301), 40_000]}).svg
    assert "longest 40,000 (1 beyond" in svg
    assert "40,000" not in shown(svg)


@pytest.mark.parametrize(("wins", "ties", "losses"), [(400, 17, 6), (1, 0, 0), (2, 1, 400), (5, 5, 5)])
def test_every_outcome_has_its_number(wins: int, ties: int, losses: int) -> None:
    counts = Pairwise(wins, losses, ties, 0, 0, 0.5, (0.4, 0.6), 0.5, (0.4, 0.6), 0.1)
    texts = " ".join(shown(pairwise_plot([Judged("student", "held-out items", counts)], "base").svg)).split()
    assert {str(wins), str(ties), str(losses)} <= set(texts)
