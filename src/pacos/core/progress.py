"""Progress of long work: a bar with rate and time left on a terminal, a plain line now and then when piped."""

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_LINE_EVERY_SECONDS = 10.0


class ProgressBar:
    """`with ProgressBar("audit", total, "records") as bar: bar.advance()`; writes to standard error."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit, self.count = title, total, unit, 0
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
        now = time.monotonic()
        rate = self.count / max(now - self._start, 1e-9)
        if self._bar:
            self._bar.update(self._task, completed=self.count, rate=f"{rate:,.1f}/s")
        elif now - self._last_line >= PLAIN_LINE_EVERY_SECONDS:
            self._last_line = now
            left = max(self.total - self.count, 0) / rate
            line = f"{self.title}: {self.count:,}/{self.total:,} {self.unit}, {rate:,.1f}/s, {left:,.0f} s left"
            print(line, file=sys.stderr, flush=True)
