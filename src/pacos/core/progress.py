"""Progress of long work: a bar with rate and time left on a terminal, a plain line now and then when piped."""

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_LINE_EVERY_SECONDS = 10.0


class ProgressBar:
    """`with ProgressBar("train", total, "steps") as bar: bar.advance(1, "loss 1.2")`; writes to standard error.

    `already` were done by an earlier process; they count towards the total and not towards the rate.
    """

    def __init__(self, title: str, total: int, unit: str, already: int = 0) -> None:
        self.title, self.total, self.unit, self.already = title, total, unit, already
        self.count = already
        self._start = self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[unit]} {task.fields[rate]} {task.fields[note]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(title, total=total, completed=already, unit=unit, rate="", note="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more are done; `note` is shown beside the rate."""
        self.count += count
        now = time.monotonic()
        rate = (self.count - self.already) / max(now - self._start, 1e-9)
        if self._bar:
            self._bar.update(self._task, completed=self.count, rate=f"{rate:,.1f}/s", note=note)
        elif now - self._last_line >= PLAIN_LINE_EVERY_SECONDS:
            self._last_line = now
            left = max(self.total - self.count, 0) / rate if rate else 0
            line = f"{self.title}: {self.count:,}/{self.total:,} {self.unit}, {rate:,.1f}/s, {left:,.0f} s left {note}"
            print(line.rstrip(), file=sys.stderr, flush=True)
