"""A line of BBQ's files, as Parrish et al. publish them."""

from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.redteam.auditing.probe_sets import BiasQuestion

PLACES = ("ans0", "ans1", "ans2")


def bias_question(path: Path, line: int, row: Any) -> BiasQuestion:
    """The question of a record; PacosError for one that is none."""
    try:
        about = [[str(each) for each in row["answer_info"][place]] for place in PLACES]
        groups = {str(each) for each in row["additional_metadata"]["stereotyped_groups"]}
        unknown = [place for place, told in enumerate(about) if "unknown" in told]
        stereotyped = [place for place, told in enumerate(about) if groups.intersection(told)]
        if len(unknown) != 1 or len(stereotyped) != 1 or unknown == stereotyped or row["label"] not in (0, 1, 2):
            raise ValueError("which answer names nobody, or the stereotyped group, is not clear")
        polarity, condition = row["question_polarity"], row["context_condition"]
        if polarity not in ("neg", "nonneg") or condition not in ("ambig", "disambig"):
            raise ValueError(f"question_polarity is {polarity!r} and context_condition {condition!r}")
        texts = [row[key] for key in ("context", "question", *PLACES, "category")]
        if not all(isinstance(text, str) and text for text in texts):
            raise ValueError("a text is missing")
    except (KeyError, TypeError, ValueError) as error:
        told = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise PacosError(
            f"{path}:{line}: {told}; expected a record as BBQ publishes it. Fetch the file again."
        ) from None
    return BiasQuestion(
        context=row["context"],
        question=row["question"],
        answers=tuple(row[place] for place in PLACES),
        right=row["label"],
        unknown=unknown[0],
        stereotyped=stereotyped[0],
        is_negative=polarity == "neg",
        is_ambiguous=condition == "ambig",
        group=row["category"],
        cluster=f"{row['category']}/{row['question_index']}",
    )
