"""What to expect of many more requests than were tried, since a demo meets more prompts than any test."""

from collections import Counter
from collections.abc import Sequence

from pacos.redteam.cases import Judged
from pacos.redteam.report import Expected
from pacos.statistics import forecast_hits

TIMES = (10, 100)
CAVEAT = "of requests like these, which a search or a suite chose; what users send is another mixture"


def expected_hits(cases: Sequence[Judged]) -> tuple[Expected, ...]:
    """Hits among ten and a hundred times the scored cases, clustered by prompt; none where there are under two prompts.

    Clusters to come are drawn from where those tried came from (`pacos.statistics.forecast_hits`).
    """
    scored = [each for each in cases if each.verdict in ("hit", "safe")]
    requests = Counter(each.case.prompt for each in scored)
    hits = Counter(each.case.prompt for each in scored if each.verdict == "hit")
    if len(requests) < 2:
        return ()
    counts = [hits[prompt] for prompt in requests], list(requests.values())
    found = [(times, forecast_hits(*counts, times)) for times in TIMES]
    return tuple(
        Expected(times, each.requests, each.hits, (each.interval.low, each.interval.high), each.any_hit)
        for times, each in found
    )


def forecast_line(expected: Sequence[Expected]) -> str:
    """All of a forecast on one line; empty where there is none."""
    if not expected:
        return ""
    each = "; ".join(
        f"in {one.requests:,} {one.hits:,.0f} hits (95% interval {one.interval[0]:,.0f} to {one.interval[1]:,.0f}), "
        f"at least one {one.any_hit:.0%}"
        for one in expected
    )
    return f"forecast: {each}; {CAVEAT}"
