"""report.html: one self-contained page that tells a whole run to someone who missed it."""

from pathlib import Path

from pacos.core.files import write_text
from pacos.study.page.commands import commands
from pacos.study.page.compared import Compared, compared
from pacos.study.page.cost import cost
from pacos.study.page.headline import headline
from pacos.study.page.machine import machine
from pacos.study.page.made import made
from pacos.study.page.pair_browser import Browser, browser
from pacos.study.page.redteam import redteam
from pacos.study.page.redteam_files import read_redteam
from pacos.study.page.render import render
from pacos.study.page.run_files import read_run
from pacos.study.page.trained import trained


def write(run_path: Path) -> Path:
    """Writes `run_path`/report.html from what the run's stages left there, and returns its path.

    Stages that are not finished are named on the page. The same files on the same machine give the same bytes.
    Raises PacosError where `run_path` is no run folder, one of its files is damaged, or the page cannot be written.
    """
    run_path = Path(run_path)
    files = read_run(run_path)
    comparison, spent = compared(files), cost(files)
    pairs, attacked = _browser(comparison), redteam(read_redteam(run_path / "redteam"))
    browsers = [each for each in (pairs, attacked.browser if attacked else None) if each]
    html = render(
        "report.html",
        files=files,
        headline=headline(files, comparison, spent),
        made=made(files),
        trained=trained(files),
        compared=comparison,
        browser=pairs,
        redteam=attacked,
        scripts=[each.script for each in browsers],
        cost=spent,
        machine=machine(),
        commands=commands(files),
    )
    page = run_path / "report.html"
    write_text(page, html)
    return page


def _browser(comparison: Compared | None) -> Browser | None:
    if not comparison or not comparison.judged:
        return None
    return browser(comparison.judged, comparison.labels, comparison.report.judges, comparison.facets)
