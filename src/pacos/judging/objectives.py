"""The door to every judge of one answer."""

from collections.abc import Mapping

from pacos.core.recipe import EngineTable
from pacos.judging.engine_judges import EngineJudge, engine_judge
from pacos.judging.offline import OfflineJudge, offline_judge

AnswerJudge = OfflineJudge | EngineJudge


def find_judge(objective: str, engines: Mapping[str, EngineTable]) -> AnswerJudge:
    """The judge of an objective; PacosError where there is none, or its pattern, file or engine cannot be used.

    Offline: `contains:TEXT`, `regex:PATTERN`, `refusal`, `compliance`, `lexicon`, `lexicon:FILE`. Asked, by `engines`,
    which are the recipe's, or a spec (http:URL, local:PATH): `guard:ENGINE` or `guard:FAMILY:ENGINE`,
    `rubric:ENGINE:CRITERION`, `moderation` (OpenAI's own) or `moderation:ENGINE`.
    """
    return engine_judge(objective, engines) if is_asked(objective) else offline_judge(objective)


def is_asked(objective: str) -> bool:
    """Whether its judge is an engine."""
    return objective.partition(":")[0] in ("guard", "rubric", "moderation")


def settings_of(judge: AnswerJudge) -> dict[str, str]:
    """What shapes a verdict beside the objective's words, for a campaign's settings: another model is another judge."""
    return {"judge": judge.identity} if isinstance(judge, EngineJudge) else {}
