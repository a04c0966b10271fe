"""Whether what was judged is what the models answered: texts, names, copies and empty answers."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pacos.evaluate.leaderboard.annotations import AnnotationSet
from pacos.evaluate.leaderboard.findings import LeaderboardFinding, named
from pacos.evaluate.leaderboard.folder import LeaderboardFolder

# A copy shares more than half of its items, and at least so many.
FEWEST_SHARED = 3
Texts = Mapping[str, str]


def check_texts(folder: LeaderboardFolder) -> Iterator[LeaderboardFinding]:
    """Judged and answered texts that differ, copies of models and of annotations, and empty answers."""
    answered = {each.model: _texts(each.keys, each.outputs) for each in folder.outputs}
    for sets in folder.comparable():
        judge, benchmark = sets[0].judge, folder.benchmark_of(sets[0].judge, sets[0].baseline)
        for annotated in sets:
            if annotated.model_outputs is not None:
                yield from _judged_text(annotated, benchmark, annotated.model_outputs, answered)
                yield from _compared_with_itself(annotated, benchmark)
        yield from _baseline_text(judge, benchmark, sets, answered)
        yield from _duplicated_annotations(judge, benchmark, sets)
    yield from _duplicated_outputs(answered)
    yield from _empty_outputs(folder)


def _texts(keys: Sequence[str], outputs: Sequence[str]) -> Texts:
    # White space at the ends is lost on the way through many tools, and changes no judgment.
    return dict(zip(keys, map(str.strip, outputs), strict=True))


def _judged_text(
    annotated: AnnotationSet, benchmark: int | None, model_outputs: Sequence[str], answered: Mapping[str, Texts]
) -> Iterator[LeaderboardFinding]:
    judged, own = _texts(annotated.keys, model_outputs), answered.get(annotated.model)
    told = (annotated.judge, benchmark)
    other_name = (
        annotated.judged_as if annotated.judged_as in answered and annotated.judged_as != annotated.model else ""
    )
    if own is None:
        if other_name:
            detail = f"the records name {other_name} as the model that was judged"
            yield LeaderboardFinding("judged-text-differs", (annotated.model, other_name), detail, *told, len(judged))
        return
    common = judged.keys() & own.keys()
    differing = [key for key in common if judged[key] != own[key]]
    if not differing:
        return
    count = f"{len(differing)} of {len(common)} judged outputs are not the model's"
    places = {text: key for key, text in own.items() if text}
    displaced = sum(judged[key] in places for key in differing)
    if 2 * displaced > len(differing):
        detail = f"{count}: {displaced} are its answers to other instructions, so the join is off"
        yield LeaderboardFinding("misaligned-join", (annotated.model,), detail, *told, len(differing))
        return
    others = Counter(
        {name: sum(judged[key] == texts.get(key) for key in differing) for name, texts in answered.items()}
    )
    ((nearest, equal),) = others.most_common(1)
    is_other = 2 * equal > len(differing)
    origin = f": {equal} are those of {nearest}" if is_other else ""
    origin += f", and the records name {other_name}" if other_name else ""
    models = (annotated.model, nearest) if is_other else (annotated.model,)
    yield LeaderboardFinding("judged-text-differs", models, count + origin, *told, len(differing))


def _compared_with_itself(annotated: AnnotationSet, benchmark: int | None) -> Iterator[LeaderboardFinding]:
    """A model whose judged outputs are the baseline's, unless it is the baseline by its name."""
    own, base = annotated.model_outputs or (), annotated.baseline_outputs or ()
    if annotated.baseline in (annotated.model, annotated.judged_as):
        return
    equal = [text for text, other in zip(own, base, strict=True) if text.strip() and text.strip() == other.strip()]
    if _is_copy(equal, len(own)):
        detail = f"{len(equal)} of {len(own)} judged outputs are the baseline's, {annotated.baseline}"
        models = (annotated.model, annotated.baseline)
        yield LeaderboardFinding("duplicated-outputs", models, detail, annotated.judge, benchmark, len(equal))


def _baseline_text(
    judge: str, benchmark: int | None, sets: Sequence[AnnotationSet], answered: Mapping[str, Texts]
) -> Iterator[LeaderboardFinding]:
    """Baselines whose judged outputs are not those in the folder; models judged against another baseline than most."""
    with_texts = [
        (each, _texts(each.keys, each.baseline_outputs)) for each in sets if each.baseline_outputs is not None
    ]
    differing: Counter[str] = Counter()
    for annotated, judged in with_texts:
        own = answered.get(annotated.baseline, {})
        differing[annotated.model] = sum(judged[key] != own[key] for key in judged.keys() & own.keys())
    models = tuple(model for model, count in differing.items() if count)
    if models:
        baseline = with_texts[0][0].baseline
        detail = (
            f"up to {max(differing.values())} of the texts that {len(models)} models were compared with are not "
            f"{baseline}'s outputs in this folder: {named(models)}"
        )
        yield LeaderboardFinding("baseline-text-differs", models, detail, judge, benchmark, differing.total())
    if len(with_texts) < 3:
        return
    usual: dict[str, Counter[str]] = {}
    for _, judged in with_texts:
        for key, text in judged.items():
            usual.setdefault(key, Counter())[text] += 1
    common = {key: counts.most_common(1)[0][0] for key, counts in usual.items()}
    for annotated, judged in with_texts:
        if off := sum(text != common[key] for key, text in judged.items()):
            detail = f"compared with another text than the other models for {off} of {len(judged)} items"
            yield LeaderboardFinding("baseline-text-differs", (annotated.model,), detail, judge, benchmark, off)


def _is_copy(shared: Sequence[object], count: int) -> bool:
    """Whether so much is shared that it is no chance: short answers such as yes and no are often alike."""
    return len(shared) >= FEWEST_SHARED and 2 * len(shared) > count and 2 * len(set(shared)) > len(shared)


def _duplicated_outputs(answered: Mapping[str, Texts]) -> Iterator[LeaderboardFinding]:
    keys = sorted(set().union(*answered.values())) if answered else []
    numbers: dict[str, int] = {"": -1}
    grid = np.array(
        [[numbers.setdefault(texts.get(key, ""), len(numbers)) for key in keys] for texts in answered.values()]
    )
    names = list(answered)
    for i, first in enumerate(names):
        for j in range(i):
            shared = grid[i][(grid[i] == grid[j]) & (grid[i] >= 0)]
            common = int(((grid[i] >= 0) & (grid[j] >= 0)).sum())
            if _is_copy(shared.tolist(), common):
                detail = f"{len(shared)} of {common} outputs are the same"
                yield LeaderboardFinding("duplicated-outputs", (names[j], first), detail, items=len(shared))


def _duplicated_annotations(
    judge: str, benchmark: int | None, sets: Sequence[AnnotationSet]
) -> Iterator[LeaderboardFinding]:
    """Models whose preferences and judged outputs (or the lengths of these) are the same."""
    places = {key: place for place, key in enumerate(sorted({key for each in sets for key in each.keys}))}
    preferences, lengths = np.full((2, len(sets), len(places)), np.nan)
    for row, annotated in enumerate(sets):
        columns = [places[key] for key in annotated.keys]
        preferences[row, columns], lengths[row, columns] = annotated.preferences, annotated.model_lengths
    judged = [None if s.model_outputs is None else _texts(s.keys, s.model_outputs) for s in sets]
    names = list(places)
    for i, first in enumerate(sets):
        for j in range(i):
            equal = (preferences[i] == preferences[j]) & (lengths[i] == lengths[j])
            common = int((~np.isnan(preferences[i] + preferences[j])).sum())
            if equal.sum() < FEWEST_SHARED or 2 * equal.sum() <= common:
                continue
            mine, theirs = judged[i], judged[j]
            shared = list(np.flatnonzero(equal))
            if mine is not None and theirs is not None:
                shared = [place for place in shared if mine[names[place]] == theirs[names[place]]]
            if 2 * len(shared) > common and len(shared) >= FEWEST_SHARED:
                detail = f"{len(shared)} of {common} preferences and judged outputs are the same"
                models = (sets[j].model, first.model)
                yield LeaderboardFinding("duplicated-annotations", models, detail, judge, benchmark, len(shared))


def _empty_outputs(folder: LeaderboardFolder) -> Iterator[LeaderboardFinding]:
    with_outputs = {each.model for each in folder.outputs}
    empty = {each.model: (sum(not text.strip() for text in each.outputs), len(each.keys)) for each in folder.outputs}
    for annotated in folder.annotations:
        if annotated.model not in with_outputs:
            count = int((annotated.model_lengths == 0).sum())
            if count > empty.get(annotated.model, (0, 0))[0]:
                empty[annotated.model] = (count, len(annotated.keys))
    for model, (count, total) in empty.items():
        if count:
            yield LeaderboardFinding("empty-outputs", (model,), f"{count} of {total} outputs are empty", items=count)
