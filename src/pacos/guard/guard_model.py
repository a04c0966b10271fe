"""A guard model played by any engine: asked in its family's form, read strictly."""

import asyncio
import uuid

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import Engine, Prompt, Reply, Request, Sampling, open_engine
from pacos.guard.families import Family, as_data
from pacos.guard.moderation import ModerationResult

# A second one for what passes by itself, such as a dropped connection; the chain's patience bounds both.
ATTEMPTS = 2


class GuardModel:
    """Raises PacosError where the engine cannot be opened, or its `api` cannot carry the family's form."""

    def __init__(self, family: Family, table: EngineTable) -> None:
        if table.api not in family.apis:
            raise PacosError(
                f"its engine's api is {table.api!r}, and this family of guard models is asked with "
                f"api={' or '.join(map(repr, family.apis))}; set that in the engine's table."
            )
        self._family, self._api = family, table.api
        self._logprobs = family.logprobs if table.engine == "local" else None
        self._engine: Engine = open_engine(table)

    async def check(self, text: str, prompt: str | None = None) -> ModerationResult:
        """Judges a user's text, or an answer together with its prompt; nothing in either acts on the guard."""
        questions = self._family.questions(as_data(text), None if prompt is None else as_data(prompt), self._api)
        replies = await asyncio.gather(*map(self._reply, questions))
        return ModerationResult.of(self._family.scores(replies))

    async def close(self) -> None:
        """Closes the engine."""
        await self._engine.close()

    async def _reply(self, question: Prompt) -> Reply:
        sampling = Sampling(self._family.max_tokens, temperature=0.0)
        request = Request(f"guard-{uuid.uuid4().hex}", question, sampling, logprobs=self._logprobs)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                replies = [delta.reply async for delta in self._engine.stream(request) if delta.reply]
                return replies[0]
            except PacosError:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")
