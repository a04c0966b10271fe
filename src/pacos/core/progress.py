"""Progress of long work: a bar with rate and time left on a terminal, a plain line now and then when piped."""

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_LINE_EVERY_SECONDS = 10.0


class TokenCount:
    """New tokens of all replies, those under way too, and their rate since the first: loading a model is no writing."""

    def __init__(self) -> None:
        self._tokens, self._since, self._rate = 0, time.monotonic(), 0.0

    def told(self, tokens: int) -> None:
        """So many there are now."""
        now = time.monotonic()
        if not tokens:
            self._since = now
        self._tokens, self._rate = tokens, tokens / max(now - self._since, 1e-9)

    def __str__(self) -> str:
        return f", {self._tokens:,} tokens written, {self._rate:,.0f}/s" if self._tokens else ""


class ProgressBar:
    """`with ProgressBar("audit", total, "records") as bar: bar.advance()`; writes to standard error.

    `tick` is for work of long pieces: it shows that something happens before the first of them is done.
    """

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit, self.count = title, total, unit, 0
        self._tokens = TokenCount()
        self._start = self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[unit]} {task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(title, total=total, unit=unit, rate="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self) -> None:
        """One more is done."""
        self.count += 1
        self._show()

    def tick(self, tokens_written: int) -> None:
        """Time goes on, and an engine has written so many tokens; 0 where it cannot say."""
        self._tokens.told(tokens_written)
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        rate = self.count / max(now - self._start, 1e-9)
        if self._bar:
            self._bar.update(self._task, total=self.total, completed=self.count, rate=f"{rate:,.1f}/s{self._tokens}")
        elif now - self._last_line >= PLAIN_LINE_EVERY_SECONDS:
            self._last_line = now
            left = f", {rate:,.1f}/s, {max(self.total - self.count, 0) / rate:,.0f} s left" if self.count else ""
            line = f"{self.title}: {self.count:,}/{self.total:,} {self.unit}{left}{self._tokens}"
            print(line, file=sys.stderr, flush=True)
