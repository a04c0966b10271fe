"""What a person sees while the teacher writes: the funnel on a terminal, a plain line now and then when piped."""

import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pacos.asking import Budget
from pacos.core.progress import PLAIN_LINE_EVERY_SECONDS, TokenCount
from pacos.engines import Reply
from pacos.generate.pool import Pool

FORECAST_AFTER_REPLIES = 50
FEWEST_FOR_A_RATE = 10
DRAWN_EVERY_SECONDS = 0.25
_BAR_COLUMNS = 30


@dataclass(frozen=True)
class Forecast:
    """What the whole job will take: replies and US dollars in all, and seconds from now."""

    replies: int
    usd: float
    seconds_left: float


class Funnel:
    """`with Funnel(pool, num_examples, budget) as funnel: funnel.update(reply)`; writes to standard error.

    Dollars and replies include those of earlier processes, rates and tokens are this one's.
    """

    def __init__(self, pool: Pool, num_examples: int, budget: Budget) -> None:
        self._pool, self._num_examples, self._budget = pool, num_examples, budget
        self._start = self._last_drawn = time.monotonic()
        self._replies_before = self._kept_before = 0
        self._prompt_tokens = self._completion_tokens = 0
        self._written = TokenCount()
        self._is_replayed = self._forecast_told = False
        self._live: Live | None = None
        if sys.stderr.isatty():
            self._live = Live(console=Console(stderr=True), auto_refresh=False)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.update(self._drawn(), refresh=True)
            self._live.stop()

    def replayed(self) -> None:
        """What the pool holds now came out of the ledger, and says nothing about this process's speed."""
        self._is_replayed = True
        self._start = time.monotonic()
        self._replies_before, self._kept_before = self._pool.num_replies, len(self._pool.kept)
        self._prompt_tokens = self._completion_tokens = 0

    def update(self, reply: Reply) -> None:
        """One more reply is judged."""
        self._prompt_tokens += reply.usage.prompt_tokens
        self._completion_tokens += reply.usage.completion_tokens
        self._show()

    def tick(self, tokens_written: int) -> None:
        """Time goes on, and the teacher has written so many tokens; 0 where it cannot say."""
        self._written.told(tokens_written)
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if not self._is_replayed:
            return
        if self._live:
            if now - self._last_drawn >= DRAWN_EVERY_SECONDS:
                self._last_drawn = now
                self._live.update(self._drawn(), refresh=True)
            return
        if not self._forecast_told and (forecast := self.forecast()):
            self._forecast_told = True
            print(
                f"generate: forecast after {self._pool.num_replies} replies: at least {forecast.replies:,} in all, "
                f"${forecast.usd:,.2f}, {_duration(forecast.seconds_left)} from now; more as new ones get rarer",
                file=sys.stderr,
                flush=True,
            )
        if now - self._last_drawn >= PLAIN_LINE_EVERY_SECONDS:
            self._last_drawn = now
            print(f"generate: {self._headline()}; {self._money_and_time()}", file=sys.stderr, flush=True)

    def forecast(self) -> Forecast | None:
        """The job as a whole, judged by the yield of the last replies; None before there are enough of them."""
        pool, seconds = self._pool, time.monotonic() - self._start
        replies_here = pool.num_replies - self._replies_before
        if pool.num_replies < FORECAST_AFTER_REPLIES or replies_here < FEWEST_FOR_A_RATE:
            return None
        # The yield falls as new instructions get rarer, so the latest replies say most.
        kept_before_last = (0, *pool.kept_after_reply)[-FORECAST_AFTER_REPLIES - 1]
        kept_per_reply = max(len(pool.kept) - kept_before_last, 0.5) / FORECAST_AFTER_REPLIES
        replies_left = pool.missing / kept_per_reply
        usd_per_reply = self._budget.spent_usd / pool.num_replies
        return Forecast(
            replies=round(pool.num_replies + replies_left),
            usd=self._budget.spent_usd + replies_left * usd_per_reply,
            seconds_left=replies_left * seconds / replies_here,
        )

    def _headline(self) -> str:
        pool = self._pool
        rate = (len(pool.kept) - self._kept_before) / max(time.monotonic() - self._start, 1e-9)
        counts = f"{len(pool.kept):,}/{self._num_examples:,} examples, {rate:,.1f}/s, {pool.num_replies:,} replies"
        return f"{counts}{self._written}"

    def _money_and_time(self) -> str:
        spent = (
            f"${self._budget.spent_usd:,.4f}, {self._prompt_tokens:,} + {self._completion_tokens:,} tokens of prompts "
            "and replies"
        )
        forecast = self.forecast()
        if forecast is None:
            return spent
        return f"{spent}; about ${forecast.usd:,.2f} in all, {_duration(forecast.seconds_left)} left"

    def _drawn(self) -> Group:
        pool = self._pool
        table = Table.grid(padding=(0, 2))
        for justify in ("left", "right", "right", "left"):
            table.add_column(justify=justify)
        whole = max(pool.num_asked, pool.num_read, 1)
        rows = [("asked for", pool.num_asked, "cyan"), ("read", pool.num_read, "cyan")]
        rows += [(f"  {rule}", count, "red") for rule, count in pool.rejections.most_common()]
        rows.append(("kept", len(pool.kept), "green"))
        for name, count, colour in rows:
            bar = "█" * round(_BAR_COLUMNS * count / whole)
            table.add_row(name, f"{count:,}", f"{count / whole:.1%}", Text(bar, style=colour))
        # A bar ends no line by itself; a grid's row does.
        done = Table.grid(expand=True)
        done.add_row(ProgressBar(total=self._num_examples, completed=len(pool.kept), complete_style="green"))
        return Group(Text(self._headline(), style="bold"), done, Text(self._money_and_time()), table)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
