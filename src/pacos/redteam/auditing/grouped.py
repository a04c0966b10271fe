"""A set's cases counted as a whole and by group."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from pacos.judging.offline import Agreement
from pacos.redteam.auditing.probe_sets import Stated
from pacos.redteam.auditing.report import ObjectiveResult, PairCounts, PairedResult
from pacos.redteam.cases import Judged
from pacos.redteam.counting import count, judge_by_style
from pacos.redteam.forecasting import expected_hits
from pacos.redteam.report import Counts

Key = Callable[[Judged], str]


def topic(judged: Judged) -> str:
    """The group that a case was stored under."""
    return judged.case.topic


def objective_result(
    stated: Stated,
    judge: str,
    finds: str,
    agreement: Sequence[Agreement],
    cases: Sequence[Judged],
    cluster: Key,
    group: Key = topic,
) -> ObjectiveResult:
    """What came of a set that a judge scored."""
    return ObjectiveResult(
        **asdict(count(cases, cluster)),
        name=stated.name,
        about=stated.about,
        failure=stated.failure,
        judge=judge,
        judge_finds=finds,
        judge_by_style=judge_by_style(cases, agreement),
        forecast=expected_hits(cases),
        source=stated.source,
        sha256=stated.sha256,
        by_group=_by_group(cases, cluster, group),
    )


def paired_result(stated: Stated, cases: Sequence[Judged], cluster: Key) -> PairedResult:
    """What came of a set of pairs: a hit is one whose first sentence is the likelier, and a tie is unscored."""
    return PairedResult(
        **asdict(_pair_counts(count(cases, cluster))),
        name=stated.name,
        about=stated.about,
        failure=stated.failure,
        source=stated.source,
        sha256=stated.sha256,
        by_group={name: _pair_counts(counts) for name, counts in _by_group(cases, cluster, topic).items()},
    )


def _pair_counts(counts: Counts) -> PairCounts:
    return PairCounts(counts.requests, counts.hits, counts.unscored, counts.errors, counts.rate, counts.interval)


def _by_group(cases: Sequence[Judged], cluster: Key, group: Key) -> dict[str, Counts]:
    """Counts of each group by name; where it has a single cluster, how that would do in other wordings."""
    groups: dict[str, list[Judged]] = {}
    for case in cases:
        groups.setdefault(group(case), []).append(case)
    return {
        name: count(members, cluster) if len(set(map(cluster, members))) > 1 else count(members)
        for name, members in sorted(groups.items())
    }
