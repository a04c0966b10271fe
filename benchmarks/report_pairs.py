"""How large a report with many judged pairs is, and how long it takes to write, to open and to filter.

`python benchmarks/report_pairs.py`, from the repository's root; needs playwright and Debian's Chromium.
"""

import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from pacos.study.report_page import write
from tests.study import made_pairs, made_run

CHROMIUM = "/usr/bin/chromium"
MANY_WORDS = (
    "that it follows the instruction more closely, where the other repeats itself and stops half way" + " so" * 30
)
SIZES = {
    "252 items, 4 candidates, 2 judges": (252, ("student", "rival", "third", "fourth"), ("builtin:judge", "stern")),
    "5,000 items, 1 candidate, 1 judge": (5_000, ("student",), ("stern",)),
}
FILTERS = """async () => {
    const form = document.getElementById("pairs-filter"), taken = [];
    for (const [name, value] of [["text", "says student"], ["text", "(77)"], ["text", ""], ["outcome", "lost"]]) {
        form.elements[name].value = value;
        const start = performance.now();
        form.dispatchEvent(new Event("input"));
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        taken.push(performance.now() - start);
    }
    return Math.max(...taken);
}"""


def main() -> None:
    made_pairs.JUDGES.update(stern=(0.4, MANY_WORDS))
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for number, (name, (items, candidates, judges)) in enumerate(SIZES.items()):
            run = made_run.make_run(Path(folder) / str(number))
            made_pairs.make_pairs(run / "evaluate", items, candidates, judges, hostile=" and so on" * 15)
            start = time.perf_counter()
            report = write(run)
            written = time.perf_counter() - start
            page = browser.new_page()
            start = time.perf_counter()
            page.goto(report.as_uri())
            page.locator("#pairs-list summary").first.wait_for()
            opened = time.perf_counter() - start
            size, filtered = report.stat().st_size / 1e6, page.evaluate(FILTERS) / 1000
            print(f"| {name} | {size:.1f} MB | {written:.1f} s | {opened:.1f} s | at most {filtered:.2f} s |")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
