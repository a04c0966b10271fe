"""How often the intervals of pacos.statistics cover, and what sequential stopping errs and saves, by simulation.

    OMP_NUM_THREADS=1 python benchmarks/coverage.py [--studies 10000] [--bootstrap 1000]

A vote's latent score is shift + item + annotator + noise, all normal: noise with deviation 1, items with 0.8 (so that
votes on one item agree beyond chance), annotators with the deviation of the row. Over +0.25 the model wins, under
-0.25 it loses, between is a tie. Every study draws new items and new annotators. Its intervals are held against two
truths: the win rate over all items by these five annotators, and by all annotators that five could have been drawn of.
The Monte Carlo error of a coverage near 95% is 0.2 points with 10,000 studies.

The second part peeks after every vote: how often a difference is declared where there is none, and how many labels it
takes where wins are 65% of decisive votes, against fixed designs of the sign test.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from scipy.special import ndtr

from pacos.statistics import (
    bootstrap_interval,
    clustered_win_rate,
    items_to_tell_apart,
    sequential_evidence,
    sign_test_power,
    win_rate,
)

ANNOTATORS, TIE, ITEM_DEVIATION = 5, 0.25, 0.8
THESE, ANY = "these annotators", "any annotators"


@dataclass(frozen=True)
class Design:
    """`votes` of the five annotators judge each item, the five in turn."""

    items: int
    votes: int
    shift: float
    annotator_deviation: float


@dataclass(frozen=True)
class Study:
    """Votes in {0, 0.5, 1}, `[items, votes]`, by the annotators whose numbers are at the same places."""

    votes: np.ndarray
    annotators: np.ndarray
    truths: dict[str, float]


def rate(shift: np.ndarray, deviation: float) -> np.ndarray:
    return (ndtr((shift - TIE) / deviation) + ndtr((shift + TIE) / deviation)) / 2


def draw(design: Design, generator: np.random.Generator) -> Study:
    leanings = generator.normal(0, design.annotator_deviation, ANNOTATORS)
    # Consecutive items begin with consecutive annotators, and skip by another step in each round.
    starts = np.arange(design.items)
    steps = 1 + starts // ANNOTATORS % (ANNOTATORS - 1)
    annotators = (starts[:, None] + np.arange(design.votes) * steps[:, None]) % ANNOTATORS
    items = generator.normal(0, ITEM_DEVIATION, (design.items, 1))
    scores = design.shift + items + leanings[annotators] + generator.normal(size=annotators.shape)
    votes = np.where(scores > TIE, 1.0, np.where(scores < -TIE, 0.0, 0.5))
    within = np.hypot(1, ITEM_DEVIATION)
    truths = {
        THESE: float(rate(design.shift + leanings[annotators], within).mean()),
        ANY: float(rate(np.array(design.shift), float(np.hypot(within, design.annotator_deviation)))),
    }
    return Study(votes, annotators, truths)


counted = cache(win_rate)


def intervals(study: Study, resamples: int) -> dict[str, tuple[float, float]]:
    items = np.repeat(np.arange(len(study.votes)), study.votes.shape[1]).tolist()
    votes, annotators = study.votes.ravel(), study.annotators.ravel().tolist()
    wins, ties = int((votes == 1).sum()), int((votes == 0.5).sum())
    found = {
        "clustered_win_rate, items": clustered_win_rate(votes, items).interval,
        "clustered_win_rate, items and annotators": clustered_win_rate(votes, items, annotators).interval,
        "win_rate, each vote as if independent": counted(wins, len(votes) - wins - ties, ties).interval,
    }
    if resamples:
        found["bootstrap_interval, items"] = bootstrap_interval(votes, items, resamples=resamples)
        found["bootstrap_interval, items and annotators"] = bootstrap_interval(
            votes, items, annotators, resamples=resamples
        )
    return found


def coverage(design: Design, studies: int, resamples: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    covered: dict[tuple[str, str], int] = defaultdict(int)
    widths: dict[str, float] = defaultdict(float)
    ties = 0.0
    for _ in range(studies):
        study = draw(design, generator)
        ties += float((study.votes == 0.5).mean())
        for name, (low, high) in intervals(study, resamples).items():
            widths[name] += high - low
            for truth, value in study.truths.items():
                covered[name, truth] += low <= value <= high
    print(
        f"\n{design.items} items x {design.votes} votes, win rate {100 * study.truths[ANY]:.1f}%, "
        f"annotators' deviation {design.annotator_deviation}, ties {100 * ties / studies:.0f}%, {studies:,} studies"
    )
    for name, width in widths.items():
        shares = (f"{truth} {100 * covered[name, truth] / studies:5.1f}%" for truth in (THESE, ANY))
        print(f"  {name:44}{'  '.join(shares)}  width {100 * width / studies:.1f} points", flush=True)


def boundary(votes: int) -> np.ndarray:
    """By number of votes, the least wins that are evidence of 20; more than there are votes where none are."""
    least = np.arange(votes + 1) + 1
    wins = 0
    for number in range(1, votes + 1):
        # Evidence grows with wins over half, and the boundary with the votes.
        wins = max(wins, number // 2)
        while wins <= number and sequential_evidence(wins, number - wins) < 20:
            wins += 1
        least[number] = wins
    return least


def stops(decisions: np.ndarray, least: np.ndarray) -> np.ndarray:
    """The vote at which each row of wins and losses is stopped; one more than its length where it is not."""
    numbers = np.arange(1, decisions.shape[1] + 1)
    wins = decisions.cumsum(axis=1)
    beyond = np.maximum(wins, numbers - wins) >= least[1 : len(numbers) + 1]
    return np.where(beyond.any(axis=1), beyond.argmax(axis=1) + 1, decisions.shape[1] + 1)


def sequential(studies: int, generator: np.random.Generator) -> None:
    votes = 1000
    least = boundary(votes)
    error = (stops(generator.random((studies, votes)) < 0.5, least) <= votes).mean()
    print(f"\nsequential, no difference, a look after each of {votes:,} votes: {100 * error:.2f}% declare one")
    leanings = np.repeat(generator.normal(0, ITEM_DEVIATION, (studies, votes // 5)), 5, axis=1)
    five = leanings + generator.normal(size=leanings.shape) > 0
    error = (stops(five, least) <= votes).mean()
    print(f"  the same where five votes in turn are on one item, each counted: {100 * error:.2f}%")
    majority = five.reshape(studies, -1, 5).sum(axis=2) > 2
    error = (stops(majority, least) <= votes // 5).mean()
    print(f"  the same, each item's majority counted once: {100 * error:.2f}%")
    print("a true 65/35")
    needed = stops(generator.random((studies, votes)) < 0.65, least)
    capped = np.minimum(needed, 179)
    planned = items_to_tell_apart(0.65)
    print(f"  stops at mean {needed.mean():.1f}, median {np.median(needed):.0f}, 90% {np.quantile(needed, 0.9):.0f}")
    for fixed in (179, 252, planned):
        power, share = 100 * sign_test_power(fixed, 0.65), 100 * needed.mean() / fixed
        stopped = 100 * (needed <= fixed).mean()
        print(f"  of a fixed {fixed} (power {power:.1f}%): {share:.0f}% of the labels; stopped by then {stopped:.1f}%")
    print(f"  given up at 179 at the latest: mean {capped.mean():.1f}, {100 * capped.mean() / 179:.0f}% of 179")


def main() -> None:
    """Prints every design's coverage, then sequential error and saving."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples; a tenth of the studies of one design")
    options = parser.parse_args()
    sequential(2 * options.studies, np.random.default_rng(1))
    designs = [
        Design(items, votes, shift, deviation)
        for (items, votes), shift, deviation in product(
            [(252, 5), (252, 2), (252, 1), (40, 5)], [0, 1.5], [0, 0.1, 0.3]
        )
    ]
    for number, design in enumerate(designs):
        coverage(design, options.studies, 0, seed=number)
    coverage(Design(252, 5, 0, 0.3), options.studies // 10, options.bootstrap, seed=len(designs))


if __name__ == "__main__":
    main()
