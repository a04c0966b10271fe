"""Whether a local teacher can be asked at all: said at once, and not when its weights are loaded."""

from collections.abc import Sequence

from pacos.asking import Call
from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines import prompt_lengths


def refuse_no_room(table: EngineTable, calls: Sequence[Call]) -> None:
    """PacosError where a local teacher has no room for a reply to any of these first calls, or no chat template."""
    try:
        known = prompt_lengths(table, [str(call.request.prompt) for call in calls])
    except PacosError as error:
        raise PacosError(f"teacher.path is {table.path!r} and teacher.api {table.api!r}: {error}") from None
    if known is None:
        return
    lengths, context = known
    if (shortest := min(lengths)) >= context:
        raise PacosError(
            f"teacher.path is {table.path!r}, which holds {context:,} tokens, prompt and reply together, and the first "
            f"prompts have {shortest:,} or more; name a teacher that holds more, or give a shorter generate.prompt or "
            "shorter generate.seed_tasks."
        )
