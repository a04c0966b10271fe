"""Cases counted by their verdict, with a rate whose denominator and interval stand beside it."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from pacos.judging.offline import Agreement
from pacos.redteam.cases import Judged
from pacos.redteam.report import Counts, JudgeOnStyle
from pacos.statistics import Interval, clustered_win_rate, rogan_gladen, wilson


def _prompt(judged: Judged) -> str:
    return judged.case.prompt


def count(cases: Sequence[Judged], cluster: Callable[[Judged], str] = _prompt) -> Counts:
    """The counts of cases that were asked; one that nobody has judged yet is unscored.

    Cases of one `cluster` are not independent: its interval is clustered by that and by technique.
    """
    asked = [case for case in cases if case.answer is not None]
    of = {name: sum(case.verdict == name for case in asked) for name in ("hit", "safe", "error")}
    scored = _scored(asked)
    rate = of["hit"] / len(scored) if scored else None
    unscored = len(asked) - sum(of.values())
    interval, _ = _certainty(scored, cluster)
    return Counts(len(asked), of["hit"], of["safe"], unscored, of["error"], len(scored), rate, interval)


def counts_by(cases: Sequence[Judged], key: Callable[[Judged], str]) -> dict[str, Counts]:
    """Counts of each group of cases, those with the most hits first."""
    groups: defaultdict[str, list[Judged]] = defaultdict(list)
    for case in cases:
        if case.answer is not None:
            groups[key(case)].append(case)
    counts = {name: count(group) for name, group in groups.items()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1].hits, item[1].requests)))


def judge_by_style(cases: Sequence[Judged], agreement: Sequence[Agreement]) -> tuple[JudgeOnStyle, ...]:
    """How good the judge is on answers of each style, and the rate of these cases without such errors."""
    scored = _scored(cases)
    _, size = _certainty(scored, _prompt)
    return tuple(
        _on_style(each, sum(case.verdict == "hit" for case in scored) / (len(scored) or 1), size) for each in agreement
    )


def right_in(styles: Sequence[JudgeOnStyle] | Sequence[Agreement]) -> str:
    """How often a judge was right on answers that it was not tuned on, in words; empty where nobody measured it."""
    accuracies = sorted(each.accuracy for each in styles if not each.tuned_on)
    if not accuracies:
        return ""
    return (
        f"right in {accuracies[0]:.1%} to {accuracies[-1]:.1%} of labelled answers, by {len(accuracies)} styles of "
        "answer"
    )


def _on_style(agreement: Agreement, rate: float, size: float) -> JudgeOnStyle:
    hits = agreement.true_positives + agreement.false_negatives
    others = agreement.true_negatives + agreement.false_positives
    try:
        found = rogan_gladen(rate, size, (agreement.true_positives, hits), (agreement.true_negatives, others))
    except ValueError:
        # Nothing was scored, labels of one kind alone, or a judge that is no better than chance there.
        corrected, interval = None, None
    else:
        corrected, interval = found.rate, (found.interval.low, found.interval.high)
    return JudgeOnStyle(
        agreement.style, agreement.tuned_on, hits + others, agreement.accuracy, agreement.kappa, corrected, interval
    )


def _scored(cases: Sequence[Judged]) -> list[Judged]:
    return [case for case in cases if case.verdict in ("hit", "safe")]


def _certainty(scored: Sequence[Judged], cluster: Callable[[Judged], str]) -> tuple[tuple[float, float] | None, float]:
    """The interval of the rate, and with how many independent verdicts it counts; None and 0 where nothing says."""
    values = [float(case.verdict == "hit") for case in scored]
    prompts = [cluster(case) for case in scored]
    techniques = [case.case.technique for case in scored]
    if len(set(prompts)) == len(prompts) and len(set(techniques)) < 2:
        # Every prompt once and in one technique: independent as far as anyone can tell.
        return _pair(wilson(int(sum(values)), len(values))), len(values)
    if len(set(prompts)) < 2:
        return None, 0
    found = clustered_win_rate(values, prompts, techniques if len(set(techniques)) > 1 else None)
    spread = found.standard_error**2
    return _pair(found.interval), found.value * (1 - found.value) / spread if spread else len(set(prompts))


def _pair(interval: Interval | None) -> tuple[float, float] | None:
    return None if interval is None else (interval.low, interval.high)
