"""Taking answers until told to stop, without losing those that are paid for and under way."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from threading import Event

from pacos.engines import Engine, Failure, Reply, Request

TICK_SECONDS = 1.0
GRACE_SECONDS = 10.0
SILENT_SECONDS = 1.0


async def take_answers(
    engine: Engine,
    requests: Iterable[Request],
    take: Callable[[Reply | Failure], bool],
    tick: Callable[[int], None],
) -> None:
    """Hands every answer to `take` as it arrives, until all are in, `take` returns False, or Ctrl-C.

    Meanwhile `tick` is told every TICK_SECONDS how many tokens are written, answer or no answer.
    From a stop on no request is sent, nor sent again, and those in flight have GRACE_SECONDS to arrive at `take`: they
    are paid for. A second Ctrl-C does not wait.
    """
    stop, stopped = Event(), asyncio.Event()
    in_flight: set[str] = set()

    def until_stopped() -> Iterator[Request]:
        for request in requests:
            in_flight.add(request.id)
            yield request
            if stop.is_set():
                return

    def end() -> None:
        stop.set()
        stopped.set()

    async def take_all() -> None:
        async with aclosing(engine.complete(until_stopped(), stop)) as answers:  # type: ignore[type-var]
            async for answer in answers:
                in_flight.discard(answer.id)
                if not take(answer):
                    end()
                # An engine that never waits would otherwise never let Ctrl-C through.
                await asyncio.sleep(0)

    async def tick_on() -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            tick(engine.tokens_written)

    # Tasks of their own: Ctrl-C cancels the one that waits here, and not the one that takes.
    taking, stopping = asyncio.create_task(take_all()), asyncio.create_task(stopped.wait())
    ticking = asyncio.create_task(tick_on())
    try:
        await asyncio.wait((taking, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        end()
        # Answers that come at once need no word.
        await asyncio.wait((taking,), timeout=SILENT_SECONDS)
        if in_flight and not taking.done():
            print(
                f"stopping: up to {GRACE_SECONDS:.0f} s for the {len(in_flight)} answers under way; "
                "Ctrl-C stops at once",
                file=sys.stderr,
            )
        await asyncio.wait((taking,), timeout=GRACE_SECONDS)
        in_time = taking.done()
        taking.cancel()
        ticking.cancel()
        await asyncio.gather(taking, stopping, ticking, return_exceptions=True)
    if in_time:
        taking.result()
