"""Asks an engine everything and closes it; what stays unanswered stops the stage in a way that can be resumed."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from pacos.core.errors import PacosError
from pacos.core.progress import ProgressBar
from pacos.engines import Engine, Failure, Reply, Request
from pacos.engines.budget import Budget
from pacos.engines.taking import take_answers


def ask_all(
    engine: Engine,
    requests: Sequence[Request],
    on_answer: Callable[[Reply | Failure], None],
    title: str,
    budget: Budget,
) -> None:
    """Hands every reply to `on_answer` as it comes, and so each request refused for good (kind "bad_request").

    Raises PacosError when others failed, at once where the failure is fatal, and where the next request does not fit
    the budget: what was not handed on is asked by the same command again.
    """
    failures: list[Failure] = []
    with ProgressBar(title, len(requests), "answers") as bar:

        def take(answer: Reply | Failure) -> bool:
            budget.settle(answer)
            if isinstance(answer, Failure) and (answer.fatal or answer.kind != "bad_request"):
                failures.append(answer)
            else:
                on_answer(answer)
            bar.advance()
            return not any(failure.fatal for failure in failures)

        asyncio.run(_ask(engine, deque(requests), take, budget))
    if not failures:
        return
    fatal = next((failure for failure in failures if failure.fatal), None)
    if fatal:
        raise PacosError(
            f"{title}: {fatal.message} Every answer that arrived is kept; the same command goes on from here."
        )
    raise PacosError(
        f"{title}: {len(failures)} of {len(requests)} requests failed ({failures[0].kind}: {failures[0].message}); "
        "the others are kept. Mend the cause and repeat the same command: only these are asked again."
    )


async def _ask(
    engine: Engine, waiting: deque[Request], take: Callable[[Reply | Failure], bool], budget: Budget
) -> None:
    goes_on, asked = True, dict[str, Request]()

    def take_and_tell(answer: Reply | Failure) -> bool:
        nonlocal goes_on
        if isinstance(answer, Failure) and answer.retry and not answer.fatal:
            budget.settle(answer)
            waiting.append(asked[answer.id])
        else:
            goes_on = take(answer)
        return goes_on

    def affordable() -> Iterator[Request]:
        while waiting and budget.reserve(waiting[0]):
            asked[waiting[0].id] = waiting[0]
            yield waiting.popleft()

    try:
        while waiting and goes_on:
            before = len(waiting)
            # What is in flight is reserved at its worst case, so there may be room again when it is settled.
            await take_answers(engine, affordable(), take_and_tell)
            if len(waiting) == before:
                raise budget.exhausted(waiting[0])
    finally:
        await engine.close()
