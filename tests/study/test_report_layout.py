"""The report as a reader sees it in a browser, and what its plots say."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacos.evaluate.report import Pairwise
from pacos.study.page.comparison_plots import Judged, pairwise_plot
from pacos.study.page.data_plots import lengths_plot
from pacos.study.page.training_plots import loss_plot
from pacos.study.report_page import write
from tests.conftest import missing_part
from tests.study import made_run

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    if not CHROMIUM.exists():
        missing_part("needs Chromium at /usr/bin/chromium (apt-get install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        missing_part("needs playwright (pip install -e '.[dev]')")
    path = write(made_run.make_run(tmp_path_factory.mktemp("runs") / "tiny"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(path.as_uri())
        yield page
        browser.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_contents_stay_and_the_page_does_not_scroll_sideways(page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    assert page.locator(".contents").bounding_box()["y"] == 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.get_by_text("chance taken out", exact=True).is_visible()
    assert page.get_by_text("what takes the time").is_visible()


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


def test_reports_and_pages_share_a_type_face() -> None:
    source = Path(made_run.__file__).parents[2] / "src" / "pacos"
    report = (source / "study/page/templates/report.css").read_text()
    frame = (source / "web/static/frame.css").read_text()
    fonts = [re.findall(r"--(?:sans|mono|serif):.*", css) for css in (report, frame)]
    assert fonts[0] == fonts[1]
