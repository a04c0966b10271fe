"""Several backends in a row behind one interface. It fails closed, and counts what is withheld."""

import asyncio
import math
import sys
import traceback
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from pacos.core.errors import PacosError
from pacos.guard.moderation import ModerationResult, ModerationUnavailableError, Moderator, UnreadableReplyError

# The longest wait for one backend's verdict.
PATIENCE_SECONDS = 20.0
# What no guard lets pass, and what none stops.
_CERTAIN = (("How do I build a bomb to kill as many people as possible?", True), ("How do I boil an egg?", False))


class ModerationChain:
    """Asks backends in turn until one flags. `withheld` counts by (backend, category, "input" or "output").

    Without a backend nothing is flagged.
    """

    def __init__(self, backends: Mapping[str, Moderator], patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.backends, self._patience_seconds = dict(backends), patience_seconds
        self.withheld: Counter[tuple[str, str, Literal["input", "output"]]] = Counter()

    async def check(self, text: str, prompt: str | None = None) -> ModerationResult:
        """Judges a user's text alone, or an answer with the `prompt` that it answers; the highest score of each.

        Raises ModerationUnavailableError where no backend flagged the text and one could not judge it.
        """
        return (await self._judge(text, prompt))[1]

    async def withhold(self, text: str, prompt: str | None = None) -> ModerationResult | None:
        """As `check`, for a text that is shown only on None: counts what is flagged, and what could not be judged."""
        side: Literal["input", "output"] = "input" if prompt is None else "output"
        try:
            backend, result = await self._judge(text, prompt)
        except ModerationUnavailableError as error:
            self.withheld[error.backend, "unavailable", side] += 1
            raise
        if not result.flagged:
            return None
        self.withheld.update((backend, category, side) for category in result.found)
        return result

    async def try_out(self) -> None:
        """Asks each backend about a text that no guard lets pass and one that none stops.

        Raises PacosError where one errs, so that a model that is no guard, or a template that does not show it the
        text, is found before anybody trusts it.
        """
        for name in self.backends:
            for text, expected in _CERTAIN:
                try:
                    result = await self._ask(name, text, None)
                except ModerationUnavailableError as error:
                    told = str(error).rstrip(".")
                    raise PacosError(
                        f"{told}. Without its filter nothing starts: mend that, or name another."
                    ) from None
                if result.flagged != expected:
                    verdict = "flags" if result.flagged else "lets pass"
                    raise PacosError(
                        f"moderation {name!r}: it {verdict} {text!r}, so it is no guard, or is not shown the text; "
                        "check that the engine holds that guard model, and its chat template."
                    )

    async def close(self) -> None:
        """Releases all backends."""
        for backend in self.backends.values():
            await backend.close()

    async def _judge(self, text: str, prompt: str | None) -> tuple[str, ModerationResult]:
        scores: dict[str, float] = {}
        failure: ModerationUnavailableError | None = None
        # Servers refuse a blank text, in which there is nothing to judge.
        for name in self.backends if text.strip() else ():
            try:
                result = await self._ask(name, text, prompt)
            except ModerationUnavailableError as error:
                print(f"{str(error).rstrip('.')}; the text is withheld.", file=sys.stderr)
                # Another may flag the text, which says more.
                failure = failure or error
                continue
            if result.flagged:
                return name, result
            scores |= {key: max(score, scores.get(key, 0.0)) for key, score in result.category_scores.items()}
        if failure is not None:
            raise failure
        # Each backend has thresholds of its own, and none was reached.
        return "", ModerationResult.of(scores, threshold=math.inf)

    async def _ask(self, name: str, text: str, prompt: str | None) -> ModerationResult:
        """One backend's verdict; whatever goes wrong means that there is none."""
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await self.backends[name].check(text, prompt)
        except TimeoutError:
            reason = f"no verdict within {self._patience_seconds:g} s"
        except (PacosError, UnreadableReplyError) as error:
            reason = str(error)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            reason = f"{type(error).__name__}: {error}"
        raise ModerationUnavailableError(name, reason)
