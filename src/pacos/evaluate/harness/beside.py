"""Pacos's own number beside a harness's: of the very answers that it got, and of the run's own evaluation."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean

from pacos.evaluate.answer_files import read_answers
from pacos.evaluate.harness.asked import Asked
from pacos.evaluate.harness.report import HarnessScore
from pacos.evaluate.report import read as read_evaluation
from pacos.text import rouge_l
from pacos.text.exact import is_exact

ROUNDING = 1e-6
_OF_TEXTS = {
    "exact_match": lambda reference, text: float(is_exact(reference, text)),
    "rouge_l": rouge_l,
}
# The same measure, so that another number is a disagreement.
_SAME = {
    ("lm-eval", "exact_match"): "exact_match",
    ("lm-eval", "rougeL"): "rouge_l",
    ("helm", "rouge_l"): "rouge_l",
    ("lm-eval", "acc"): "acc",
    ("lm-eval", "acc_norm"): "acc_norm",
}
# Another definition of the kind, shown without a word.
_AKIN = {
    ("inspect", "exact"): "exact_match",
    ("helm", "exact_match"): "exact_match",
}


def set_beside(
    harness: str, scores: list[HarnessScore], answers: Mapping[str, str], asked: Asked, evaluation: Path, label: str
) -> list[HarnessScore]:
    """The scores with pacos's numbers, those of the model `label` in the run's evaluate/ where it has the same items,
    and a line for each that is not the same although it measures the same."""
    own = _own_answers(evaluation, label)
    chosen = _own_choices(evaluation, label, len(asked.questions))
    beside = []
    for score in scores:
        measure = _SAME.get((harness, score.metric)) or _AKIN.get((harness, score.metric), "")
        if score.task == "instructions" and measure in _OF_TEXTS:
            score = replace(score, same_answers=_measured(measure, answers, asked), ours=_measured(measure, own, asked))
        elif score.task == "multiple_choice" and (harness, score.metric) in _SAME:
            score = replace(score, ours=chosen.get(measure))
        if (harness, score.metric) in _SAME:
            score = replace(score, disagreement=_disagreement(score, answers, own))
        beside.append(score)
    return beside


def _measured(measure: str, answers: Mapping[str, str], asked: Asked) -> float | None:
    """None where an item has no answer."""
    if any(item.id not in answers for item in asked.items):
        return None
    return mean(_OF_TEXTS[measure](item.reference, answers[item.id]) for item in asked.items)


def _own_answers(evaluation: Path, label: str) -> dict[str, str]:
    path = evaluation / "answers" / f"{label}.jsonl"
    return {answer.item: answer.text for answer in read_answers(path)} if path.is_file() else {}


def _own_choices(evaluation: Path, label: str, asked: int) -> dict[str, float]:
    """Of the same questions alone."""
    own = read_evaluation(evaluation).multiple_choice if (evaluation / "done.json").is_file() else None
    if own is None or own.file != "builtin" or own.acc.items != asked or label not in own.acc.values:
        return {}
    return {"acc": own.acc.values[label], "acc_norm": own.acc_norm.values[label]}


def _disagreement(score: HarnessScore, answers: Mapping[str, str], own: Mapping[str, str]) -> str:
    if score.same_answers is not None and abs(score.value - score.same_answers) > ROUNDING:
        return f"of the same answers pacos measures {score.same_answers:.6f}, not {score.value:.6f}."
    if score.ours is not None and abs(score.value - score.ours) > ROUNDING:
        other = sum(text != own.get(item) for item, text in answers.items())
        why = f": {other} of {len(answers)} answers are other ones" if score.task == "instructions" else ""
        return f"the run's own evaluation has {score.ours:.6f}, not {score.value:.6f}{why}."
    return ""
