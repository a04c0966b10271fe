"""OpenAI's own moderations API, or any server that speaks it."""

import json
from collections.abc import Mapping
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines.http.connection import Connection
from pacos.engines.http.troubles import ATTEMPT_ERRORS, one_line
from pacos.guard.moderation import CATEGORIES, ModerationResult, UnreadableReplyError

OPENAI = EngineTable(engine="http", base_url="https://api.openai.com/v1")
MODEL = "omni-moderation-latest"
# By the client library, of what passes by itself; the chain's patience bounds all of them.
RETRIES = 2


class OpenAiModeration:
    """Asks POST /moderations of the server at `table.base_url`; PacosError where the address or the key is missing."""

    def __init__(self, table: EngineTable = OPENAI) -> None:
        self._connection = Connection(table)
        self._client = self._connection.client.with_options(max_retries=RETRIES)
        self._model = table.model or MODEL

    async def check(self, text: str, prompt: str | None = None) -> ModerationResult:
        """Judges the text; this API knows no conversation, so the prompt is not sent."""
        try:
            response = await self._client.moderations.with_raw_response.create(model=self._model, input=text)
        except ATTEMPT_ERRORS as error:
            said = one_line(self._connection.mask.text(str(error)))
            raise PacosError(f"{self._connection.shown_url}: {said}") from None
        return read_result(response.content)

    async def close(self) -> None:
        """Closes the connections."""
        await self._connection.client.close()


def read_result(body: bytes) -> ModerationResult:
    """The one result of a reply, its categories and thresholds as they come; UnreadableReplyError where it is none.

    Of the legacy models the two illicit categories are null.
    """
    try:
        (result,) = json.loads(body)["results"]
        flagged, categories, scores = result["flagged"], result["categories"], result["category_scores"]
        flags = {str(name): bool(value) for name, value in categories.items() if _is(value, bool)}
        numbers = {str(name): float(value) for name, value in scores.items() if _is(value, (int, float))}
        if not isinstance(flagged, bool):
            raise TypeError("flagged is no boolean")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableReplyError(f"its reply is no moderation result ({one_line(repr(error))})") from None
    every: Mapping[str, Any] = dict.fromkeys((*CATEGORIES, *flags))
    return ModerationResult(
        flagged or any(flags.values()),
        {name: flags.get(name, False) for name in every},
        {name: numbers.get(name, 0.0) for name in every},
    )


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    """Whether a value is of its kind, or null; TypeError for any other."""
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{value!r} where {kind} belongs")
    return value is not None
