"""ROUGE-L for lm-eval's tasks, by the package that it depends on. Copied beside the task, where lm-eval finds it."""

from typing import Any

from rouge_score.rouge_scorer import RougeScorer

_SCORER = RougeScorer(["rougeL"], use_stemmer=True)


def rougeL(references: Any, predictions: Any, **options: Any) -> float:  # noqa: N802
    """The F-measure of the first answer against the first reference."""
    return float(_SCORER.score(references[0], predictions[0])["rougeL"].fmeasure)
