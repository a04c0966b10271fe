"""Cases counted by their verdict, with a rate whose denominator and interval stand beside it."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from pacos.redteam.cases import Judged
from pacos.redteam.report import Counts
from pacos.statistics.clusters import clustered_win_rate
from pacos.statistics.proportions import wilson


def count(cases: Sequence[Judged]) -> Counts:
    """The counts of cases that were asked; one that nobody has judged yet is unscored."""
    asked = [case for case in cases if case.answer is not None]
    of = {name: sum(case.verdict == name for case in asked) for name in ("hit", "safe", "error")}
    scored = [case for case in asked if case.verdict in ("hit", "safe")]
    rate = of["hit"] / len(scored) if scored else None
    unscored = len(asked) - sum(of.values())
    return Counts(len(asked), of["hit"], of["safe"], unscored, of["error"], len(scored), rate, _interval(scored))


def counts_by(cases: Sequence[Judged], key: Callable[[Judged], str]) -> dict[str, Counts]:
    """Counts of each group of cases, those with the most hits first."""
    groups: defaultdict[str, list[Judged]] = defaultdict(list)
    for case in cases:
        if case.answer is not None:
            groups[key(case)].append(case)
    counts = {name: count(group) for name, group in groups.items()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1].hits, item[1].requests)))


def _interval(scored: Sequence[Judged]) -> tuple[float, float] | None:
    values = [float(case.verdict == "hit") for case in scored]
    prompts = [case.case.prompt for case in scored]
    techniques = [case.case.technique for case in scored]
    if len(set(prompts)) == len(prompts) and len(set(techniques)) < 2:
        # Every prompt once and in one technique: independent as far as anyone can tell.
        found = wilson(int(sum(values)), len(values))
    elif len(set(prompts)) < 2:
        return None
    else:
        found = clustered_win_rate(values, prompts, techniques if len(set(techniques)) > 1 else None).interval
    return None if found is None else (found.low, found.high)
