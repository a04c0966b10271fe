"""Takes the README's picture of a run's report: `python tools/picture.py RUN docs/pictures/report.png`.

Needs playwright and Debian's Chromium. The section is one that holds no times, which tell of the machine alone.
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
SECTION = "#compared"
SIZE = {"width": 1120, "height": 840}


def take(report: Path, picture: Path) -> None:
    """Saves what a reader of the report sees after following a link of its contents, by day."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(report.resolve().as_uri() + SECTION)
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]) / "report.html", Path(sys.argv[2]))
