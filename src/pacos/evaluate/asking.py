"""Asks an engine everything and closes it; what stays unanswered stops the stage in a way that can be resumed."""

import asyncio
from collections.abc import Callable, Sequence

from pacos.core.errors import PacosError
from pacos.core.progress import ProgressBar
from pacos.engines import Engine, Failure, Reply, Request


def ask_all(
    engine: Engine, requests: Sequence[Request], on_answer: Callable[[Reply | Failure], None], title: str
) -> None:
    """Hands every reply to `on_answer` as it comes, and so each request refused for good (kind "bad_request").

    Raises PacosError when others failed: they are not handed on, so the same command asks them again.
    """
    failures: list[Failure] = []
    with ProgressBar(title, len(requests), "answers") as bar:

        def take(answer: Reply | Failure) -> None:
            if isinstance(answer, Failure) and (answer.fatal or answer.kind != "bad_request"):
                failures.append(answer)
            else:
                on_answer(answer)
            bar.advance()

        asyncio.run(_complete(engine, requests, take))
    if failures:
        raise PacosError(
            f"{title}: {len(failures)} of {len(requests)} requests failed ({failures[0].kind}: {failures[0].message}); "
            "the others are kept. Mend the cause and repeat the same command: only these are asked again."
        )


async def _complete(engine: Engine, requests: Sequence[Request], take: Callable[[Reply | Failure], None]) -> None:
    try:
        async for answer in engine.complete(requests):
            take(answer)
    finally:
        await engine.close()
