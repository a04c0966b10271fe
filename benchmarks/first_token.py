"""Seconds from opening the page of an idle server to the first token of an answer, in the system's Chromium.

    python benchmarks/first_token.py runs/tiny

Starts `pacos serve` on a free port, waits until it is ready, then visits five times with a fresh browser profile:
opens the page, accepts the terms, asks, and stops the clock at the first text of the answer.
"""

import re
import statistics
import subprocess
import sys
import time

from playwright.sync_api import Browser, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
VISITS = 5


def visit(browser: Browser, url: str) -> float:
    """One visitor's wait, in seconds."""
    page = browser.new_context().new_page()
    start = time.perf_counter()
    page.goto(url)
    page.get_by_role("button", name="I accept").click()
    page.get_by_label("Your message").fill("What is the capital of France?")
    page.keyboard.press("Enter")
    page.locator(".answer .prose", has_text=re.compile(r"\S")).first.wait_for()
    seconds = time.perf_counter() - start
    page.context.close()
    return seconds


def main() -> None:
    """Prints each visit and the median."""
    command = [sys.executable, "-m", "pacos", "serve", sys.argv[1], "serve.port=0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = next(found.group() for line in server.stdout or () if (found := re.search(r"http://\S+\d", line)))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
            seconds = [visit(browser, url) for _ in range(VISITS)]
            browser.close()
    finally:
        server.terminate()
        server.wait(30)
    print("visits", " ".join(f"{value:.2f}" for value in seconds), f"s; median {statistics.median(seconds):.2f} s")


if __name__ == "__main__":
    main()
