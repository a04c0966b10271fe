"""OpenAI's moderations API as an engine: the text of a request goes in, the JSON of the result comes back as the reply.

So whoever asks many texts has the pace, the retries and the failures of any other server.
"""

import asyncio
import json
import time
from typing import Any

import httpx2

from pacos.core.recipe import EngineTable
from pacos.engines.http.connection import CONNECT_SECONDS
from pacos.engines.http.http_engine import HttpEngine, HttpJob
from pacos.engines.types import Reply


class ModerationsEngine(HttpEngine):
    """Asks POST /moderations for `model`; a request's prompt is the raw text to look at. It costs nothing."""

    def __init__(self, table: EngineTable, model: str, timeout_seconds: float) -> None:
        super().__init__(table, timeout_seconds)
        self._model = model

    async def _ask(self, job: HttpJob, body: dict[str, Any]) -> Reply:
        start = time.monotonic()
        timeout = httpx2.Timeout(job.timeout_seconds, connect=CONNECT_SECONDS)
        async with asyncio.timeout(self._timeout_seconds):
            response = await self._connection.client.moderations.with_raw_response.create(
                model=self._model,
                input=str(job.request.prompt),
                timeout=timeout,
            )
        answer = self._reader.body(response)
        return Reply(job.request.id, json.dumps(answer), "stop", seconds=time.monotonic() - start)
