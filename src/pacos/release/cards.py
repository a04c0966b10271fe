"""The model card and, for data from elsewhere, the datasheet: only what was measured or stands in a file."""

import re
from dataclasses import dataclass
from pathlib import Path

from pacos.core.recipe import Recipe
from pacos.evaluate.report import EvaluateReport
from pacos.generate.report import GenerateReport
from pacos.train.report import TrainReport

LICENCE_LINE = re.compile(r"^license:\s*['\"]?([^'\"\n]+)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Facts:
    """What the cards are filled from; `generate` and `evaluate` are None where that stage did not run."""

    recipe: Recipe
    generate: GenerateReport | None
    train: TrainReport
    evaluate: EvaluateReport | None
    dataset_sha256: str
    base_licence: str | None
    stored_whole: float | None
    """The part of the weight difference for which the base has nothing; None where there is no difference."""
    weights_sha256: str
    """Of the released model, which is not the student's own file where that is adapters."""


def licence_of(folder: Path) -> str | None:
    """The licence that a checkpoint's own README.md states in its front matter; None where it states none."""
    readme = folder / "README.md"
    found = LICENCE_LINE.search(readme.read_text(encoding="utf-8", errors="replace")) if readme.is_file() else None
    return found.group(1).strip() if found else None


def model_card(facts: Facts) -> str:
    """MODEL_CARD.md as Markdown with Hugging Face's front matter."""
    recipe = facts.recipe
    return f"""---
base_model: {recipe.train.base}
library_name: transformers
pipeline_tag: text-generation
tags: [instruction-tuned, pacos]
---

# {recipe.name}

`{recipe.train.base}` fine-tuned by pacos to follow instructions, with recipe `{recipe.name}`. It answers one turn in
Alpaca's prompt format.

## Base and licence

Base: `{recipe.train.base}`. {_licence(facts)}

## Data

{_data(facts)}

## Training

| | |
|-|-|
{_training(facts)}

## Evaluation

{_evaluation(facts)}

## Limits

{_limits(facts)}

## Check and rebuild

`sha256sum -c SHA256SUMS` checks every file. {_rebuilding(facts)}
"""


def _licence(facts: Facts) -> str:
    if facts.base_licence:
        return f"Its folder states the licence `{facts.base_licence}`, which governs this derived model too."
    return "Its folder states no licence: find out its terms before you share or use this model."


def _data(facts: Facts) -> str:
    if not facts.generate:
        return (
            f"`{facts.recipe.train.dataset}` (SHA-256 `{facts.dataset_sha256}`), not made by this run and not part of "
            "this release. See DATASHEET.md."
        )
    report, rejected = facts.generate, sum(facts.generate.rejected.values())
    return (
        f"{report.kept:,} examples made by the `{facts.recipe.teacher.engine}` teacher: {report.asked:,} asked "
        f"for, {report.parsed:,} parsed, {rejected:,} rejected. They are in data/; see DATASHEET.md."
    )


def _training(facts: Facts) -> str:
    table, report = facts.recipe.train, facts.train
    rows = {
        "examples": f"{report.examples:,}",
        "epochs": table.num_epochs,
        "optimizer steps": f"{report.steps:,}",
        "examples a step": table.batch_size,
        "peak learning rate": f"{table.learning_rate:g}, cosine, {table.warmup_ratio:.0%} warm-up",
        "longest example": f"{table.max_length} tokens",
        "mode, precision, optimizer": f"{table.mode}, {report.precision}, {report.optimizer}",
        "tokens trained on": f"{report.real_tokens:,}",
        "final loss": f"{report.final_loss:.4f}",
        "time": f"{report.seconds:,.0f} s",
        "weights' SHA-256": f"`{facts.weights_sha256}`",
    }
    if table.lora:
        trained = f"{report.trained_parameters:,} parameters"
        rows["adapters"] = f"LoRA of rank {table.lora.rank}, alpha {table.lora.alpha}: {trained}, merged into the base"
    return "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def _evaluation(facts: Facts) -> str:
    report = facts.evaluate
    if not report:
        return "Not evaluated."
    lines = [
        f"On {report.items:,} held-out items; 95% intervals in brackets.",
        "",
        "| measure | " + " | ".join(report.exact_match) + " |",
        "|-|" + "-|" * len(report.exact_match),
    ]
    for name, items, rates, intervals in (
        ("exact match", report.exact_match_items, report.exact_match, report.exact_match_intervals),
        (
            "exact match, harder items",
            report.exact_match_harder_items,
            report.exact_match_harder,
            report.exact_match_harder_intervals,
        ),
    ):
        if items:
            cells = [_estimate(rate, intervals[label]) for label, rate in rates.items()]
            lines.append(f"| {name} (of {items:,}) | " + " | ".join(cells) + " |")
    for name, of, form in report.measurements():
        for row, values, spans in ((name, of.values, of.intervals), (f"{name}, gain", of.gains, of.gain_intervals)):
            if values:
                cells = [
                    _spanned(values[label], spans.get(label), form) if label in values else ""
                    for label in report.exact_match
                ]
                lines.append(f"| {row} (of {of.items:,}) | " + " | ".join(cells) + " |")
    return "\n\n".join(["\n".join(lines), *_comparisons(report), *_notes(report)])


def _comparisons(report: EvaluateReport) -> list[str]:
    certified = {judge: "" if report.certified.get(judge) else " (not certified)" for judge in report.judges}
    judges = ", ".join(f"`{judge}`{certified[judge]}" for judge in report.judges)
    return [
        f"Blind, in both orders, judged by {judges}: {label} against {report.baseline} won {compared.main.wins}, lost "
        f"{compared.main.losses}, tied {compared.main.ties}, {compared.main.unparsable} without a readable verdict; "
        f"win rate over {compared.main.judged:,}, ties as half, "
        f"{_estimate(compared.main.win_rate, compared.main.interval)}."
        for label, compared in report.comparisons.items()
    ]


def _notes(report: EvaluateReport) -> list[str]:
    """What the numbers rest on: guessing, and how much of what was asked the training data give away."""
    notes = []
    if report.multiple_choice:
        notes.append(f"In multiple choice guessing scores {report.multiple_choice.chance:.0%}.")
    if any(text.perplexity for text in report.perplexity):
        notes.append("Of perplexity and bits per byte less is better.")
    notes += [
        f"The training data give away {row.given_away:,} of {row.items:,} of the set “{row.evaluation}”: {row.near:,} "
        f"by a question above ROUGE-L 0.7, {row.overlap:,} by a shared passage."
        for row in report.contamination
    ]
    return notes


def _estimate(rate: float | None, interval: tuple[float, float] | None) -> str:
    if rate is None or interval is None:
        return "not known"
    return _spanned(rate, interval, ".1%")


def _spanned(value: float, interval: tuple[float, float] | None, form: str) -> str:
    # The per cent sign stands beside the value alone.
    ends = [f"{end:{form}}".rstrip("%") for end in interval or ()]
    return f"{value:{form}}" + (f" [{', '.join(ends)}]" if ends else "")


def _limits(facts: Facts) -> str:
    lines = []
    report = facts.evaluate
    rate = report.exact_match.get("student") if report else None
    if rate is not None:
        lines.append(f"- It got {1 - rate:.1%} of the held-out items wrong; they are of the kinds it was trained on.")
    if report and any(judge.startswith("builtin:") for judge in report.judges):
        lines.append("- The builtin judge is a set of rules, no person and no language model.")
    if facts.generate and facts.recipe.teacher.engine == "builtin":
        lines.append(
            "- Its data comes from a rule-based teacher with a fixed list of skills; other tasks were not taught."
        )
    lines.append("- Nothing else was measured: not truthfulness, not safety, not bias, no other language, no dialogue.")
    lines.append("- It has the base's faults as well as its own.")
    return "\n".join(lines)


def _rebuilding(facts: Facts) -> str:
    if facts.stored_whole is None:
        return "There is no weight difference: the base has no safetensors to compare with."
    whole = ""
    if facts.stored_whole:
        whole = f" For {facts.stored_whole:.1%} of the weights the base has no counterpart: these are stored whole."
    return (
        f"`pacos rebuild . --base {facts.recipe.train.base} --out DIR` rebuilds model/ bit for bit from weights_diff/ "
        f"and the base, for those who may share a difference and not the model.{whole}"
    )


def datasheet_of_given_data(dataset: str, sha256: str, num_examples: int) -> str:
    """DATASHEET.md for a data set that the run was given, of which little is known."""
    return f"""# Datasheet

This run trained on data that it did not make.

| | |
|-|-|
| file | `{dataset}` |
| SHA-256 | `{sha256}` |
| examples trained on | {num_examples:,} |

Where the data comes from, who wrote it and what its terms allow is not known to pacos. It is not part of this release;
see its own documentation before you share a model made from it.
"""
