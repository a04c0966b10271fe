"""Strengths of many models from who beat whom: Bradley and Terry's model with Davidson's ties."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import norm

from pacos.statistics.clusters import cluster_codes
from pacos.statistics.proportions import Interval, upper_level


class Comparison(NamedTuple):
    """One verdict: `outcome` is 1 where `first` won, 0.5 for a tie, 0 where `second` won."""

    first: str
    second: str
    outcome: float


@dataclass(frozen=True)
class RankedModel:
    """A model's strength, as a natural logarithm with mean 0 over all models; 400 / ln 10 times it is Elo's scale."""

    name: str
    strength: float
    standard_error: float
    interval: Interval


@dataclass(frozen=True)
class Contrast:
    """One model against another: the difference of strengths, its error, interval and two-sided p-value, and the win
    rate, ties as half, that the strengths predict."""

    difference: float
    standard_error: float
    interval: Interval
    p_value: float
    win_rate: float


@dataclass(frozen=True)
class Ranking:
    """Models from the strongest down. `tie_weight` is Davidson's nu: two equals tie with probability nu / (2 + nu).
    `covariance` is of the strengths, in the models' order here, `[models, models]`."""

    models: tuple[RankedModel, ...]
    tie_weight: float
    covariance: np.ndarray
    confidence: float

    def contrast(self, first: str, second: str) -> Contrast:
        """How far `first` is above `second`; ValueError for a model that is not ranked. Many of them need `holm`."""
        names = [model.name for model in self.models]
        for name in (first, second):
            if name not in names:
                raise ValueError(f"{name!r} is not ranked; expected one of {', '.join(names)}")
        a, b = names.index(first), names.index(second)
        difference = self.models[a].strength - self.models[b].strength
        error = sqrt(max(self.covariance[a, a] + self.covariance[b, b] - 2 * self.covariance[a, b], 0.0))
        reach = float(norm.ppf(upper_level(self.confidence))) * error
        # Ties as half: the share of wins plus half of nu's.
        half = exp(difference / 2)
        rate = (half + self.tie_weight / 2) / (half + 1 / half + self.tie_weight)
        p_value = float(2 * norm.sf(abs(difference) / error)) if error else 1.0
        return Contrast(difference, error, Interval(difference - reach, difference + reach), p_value, rate)


def rank_models(
    comparisons: Iterable[Comparison], items: Sequence[Hashable] | None = None, *, confidence: float = 0.95
) -> Ranking:
    """Maximum-likelihood strengths under Davidson's model (JASA 65, 1970, 317-328), which without ties is Bradley and
    Terry's (Biometrika 39, 1952).

    P(first wins) : P(tie) : P(second wins) = e^(d/2) : nu : e^(-d/2), d the difference of strengths. Errors are the
    sandwich's, clustered by `items` (one label a comparison; without, each comparison is its own): they hold where
    comparisons share an item, or the model is not quite true. Raises ValueError for under two models, another outcome
    than 1, 0.5 and 0, a model compared with itself, labels of one item alone, and where no strengths are the most
    likely because some models never lose to the others.
    """
    rows = list(comparisons)
    clusters = np.arange(len(rows)) if items is None else cluster_codes(items)
    if len(clusters) != len(rows):
        raise ValueError(f"{len(rows):,} comparisons and {len(clusters):,} items; expected one item a comparison")
    for row in rows:
        if row.outcome not in (0, 0.5, 1) or row.first == row.second:
            raise ValueError(f"{row}; expected two models, and an outcome of 1, 0.5 or 0")
    names = sorted({name for row in rows for name in (row.first, row.second)})
    num_items = len(np.unique(clusters))
    if len(names) < 2 or num_items < 2:
        raise ValueError(f"{len(names)} models on {num_items} items; expected at least two of each")
    number = {name: index for index, name in enumerate(names)}
    first = np.array([number[row.first] for row in rows])
    second = np.array([number[row.second] for row in rows])
    outcomes = np.array([row.outcome for row in rows])
    _most_likely_exists(names, first, second, outcomes)
    strengths, tie_weight = _fit(len(names), first, second, outcomes)
    covariance = _sandwich(strengths, tie_weight, first, second, outcomes, clusters)
    order = np.argsort(-strengths, kind="stable")
    covariance = covariance[np.ix_(order, order)]
    quantile = float(norm.ppf(upper_level(confidence)))
    models = []
    for place, index in enumerate(order):
        strength, error = float(strengths[index]), sqrt(max(float(covariance[place, place]), 0.0))
        interval = Interval(strength - quantile * error, strength + quantile * error)
        models.append(RankedModel(names[index], strength, error, interval))
    return Ranking(tuple(models), tie_weight, covariance, confidence)


def _most_likely_exists(names: list[str], first: np.ndarray, second: np.ndarray, outcomes: np.ndarray) -> None:
    """Ford's condition (American Mathematical Monthly 64, 1957): from each model wins lead to each other one.

    A tie leads both ways, once some models have beaten each other in a ring: before that, ties could be ever likelier.
    """
    tied = outcomes == 0.5
    winners, losers = np.where(outcomes == 1, first, second), np.where(outcomes == 1, second, first)

    def parts(*edges: tuple[np.ndarray, np.ndarray]) -> tuple[int, np.ndarray]:
        sources, targets = (np.concatenate(side) for side in zip(*edges, strict=True))
        graph = coo_array((np.ones(len(sources)), (sources, targets)), shape=(len(names), len(names)))
        return connected_components(graph, connection="strong")  # type: ignore[no-any-return]

    decisive = winners[~tied], losers[~tied]
    if parts(decisive)[0] == len(names):
        raise ValueError("no model both beat and lost to others in a ring; strengths need more comparisons than these")
    count, labels = parts(decisive, (first[tied], second[tied]), (second[tied], first[tied]))
    if count > 1:
        # Name the smallest part: it is most likely the odd one out.
        sizes = np.bincount(labels)
        apart = [name for name, label in zip(names, labels, strict=True) if label == sizes.argmin()]
        raise ValueError(
            f"{', '.join(apart)}: always won, always lost, or never met the others; "
            "no finite strength is the most likely, compare more or leave out"
        )


def _terms(
    strengths: np.ndarray, tie_weight: float, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of a win of the first and of a tie, one a comparison."""
    half = (strengths[first] - strengths[second]) / 2
    top = np.abs(half)
    win, tie, loss = np.exp(half - top), tie_weight * np.exp(-top), np.exp(-half - top)
    total = win + tie + loss
    return win / total, tie / total


def _gradients(
    strengths: np.ndarray, tie_weight: float, first: np.ndarray, second: np.ndarray, outcomes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each comparison's derivative of its log-likelihood by the difference of strengths, and by log nu."""
    win, tie = _terms(strengths, tie_weight, first, second)
    # Wins minus losses, halved: outcome - 1/2 and its expectation.
    return outcomes - (win + tie / 2), (outcomes == 0.5) - tie


def _fit(models: int, first: np.ndarray, second: np.ndarray, outcomes: np.ndarray) -> tuple[np.ndarray, float]:
    tied = bool((outcomes == 0.5).any())
    # Equal comparisons are counted, so that the time does not grow with them.
    cells, counts = np.unique(np.column_stack([first, second, outcomes]), axis=0, return_counts=True)
    ones, twos, results = cells[:, 0].astype(int), cells[:, 1].astype(int), cells[:, 2]

    def cost(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        strengths, weight = parameters[:models], exp(parameters[models]) if tied else 0.0
        win, tie = _terms(strengths, weight, ones, twos)
        chosen = np.where(results == 1, win, np.where(results == 0.5, tie, 1 - win - tie))
        by_difference, by_weight = _gradients(strengths, weight, ones, twos, results)
        slope = np.bincount(ones, counts * by_difference, models) - np.bincount(twos, counts * by_difference, models)
        total = counts.sum()
        # The mean strength is held at 0, which no comparison says anything of.
        value = -(counts * np.log(np.maximum(chosen, 1e-300))).sum() / total + strengths.mean() ** 2
        by_model = -slope / total + 2 * strengths.mean() / models
        return value, np.append(by_model, -(counts * by_weight).sum() / total if tied else 0.0)

    found = minimize(cost, np.zeros(models + 1), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 10_000})
    strengths = found.x[:models] - found.x[:models].mean()
    return strengths, exp(found.x[models]) if tied else 0.0


def _sandwich(
    strengths: np.ndarray,
    tie_weight: float,
    first: np.ndarray,
    second: np.ndarray,
    outcomes: np.ndarray,
    clusters: np.ndarray,
) -> np.ndarray:
    """Covariance of the centred strengths: inverse information x clustered squares of the gradients x the same."""
    models, groups = len(strengths), int(clusters.max()) + 1
    win, tie = _terms(strengths, tie_weight, first, second)
    loss = 1 - win - tie
    size = models + (tie_weight > 0)
    information = np.zeros((size, size))
    # The second derivatives: variances and covariance of (wins - losses) / 2 and of the tie.
    by_difference = (win + loss - (win - loss) ** 2) / 4
    np.add.at(information, (first, first), by_difference)
    np.add.at(information, (second, second), by_difference)
    np.add.at(information, (first, second), -by_difference)
    np.add.at(information, (second, first), -by_difference)
    of_difference, of_weight = _gradients(strengths, tie_weight, first, second, outcomes)
    scores = np.zeros((groups, size))
    np.add.at(scores, (clusters, first), of_difference)
    np.add.at(scores, (clusters, second), -of_difference)
    if tie_weight > 0:
        mixed = -tie * (win - loss) / 2
        for side, sign in ((first, 1), (second, -1)):
            np.add.at(information[:, models], side, sign * mixed)
        information[models, :models] = information[:models, models]
        information[models, models] = (tie * (1 - tie)).sum()
        np.add.at(scores[:, models], clusters, of_weight)
    # All strengths raised alike is a direction without information, and without gradient: any weight there will do.
    information[:models, :models] += np.trace(information) / models**2
    bread = np.linalg.inv(information)
    meat = scores.T @ scores * groups / (groups - 1)
    return (bread @ meat @ bread)[:models, :models]
