"""The files of the stage: the data set with and without its provenance, and everything that was rejected."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pacos.core.files import write_json_lines
from pacos.core.records import write_examples
from pacos.generate.plan import Plan
from pacos.generate.pool import Kept, Rejected

OUTPUTS = ("dataset.json", "dataset.jsonl", "rejected.jsonl", "datasheet.md")


def write_dataset(folder: Path, kept: Iterable[Kept], plan: Plan, teachers: Mapping[str, str], mode: str) -> None:
    """Writes dataset.json (Alpaca's format, nothing else) and dataset.jsonl (the same order, with provenance).

    `teachers` says who wrote a reply, by its ledger key.
    """
    kept = list(kept)
    write_examples(folder / "dataset.json", (k.example for k in kept))
    write_json_lines(folder / "dataset.jsonl", (_kept_line(k, plan, teachers, mode) for k in kept))


def write_rejected(folder: Path, rejected: Iterable[Rejected]) -> None:
    """Writes rejected.jsonl: one line an example or unreadable block, with the rule that rejected it."""
    write_json_lines(folder / "rejected.jsonl", map(_rejected_line, rejected))


def _kept_line(kept: Kept, plan: Plan, teachers: Mapping[str, str], mode: str) -> dict[str, Any]:
    example, origin = kept.example, kept.origin
    return {
        "id": example.id,
        "instruction": example.instruction,
        "input": example.input,
        "output": example.output,
        "teacher": teachers[origin.key],
        "mode": mode,
        "request": origin.request,
        "index": origin.index,
        "ledger_key": origin.key,
        "demonstrations": [task.id for task in plan.demonstrations(origin.request)],
        "similarity": round(kept.similarity, 6),
        "nearest": kept.nearest,
        "seed_similarity": round(kept.seed_similarity, 6),
        "is_classification": kept.is_classification,
    }


def _rejected_line(rejected: Rejected) -> dict[str, Any]:
    example, origin = rejected.example, rejected.origin
    line: dict[str, Any] = {
        "id": rejected.id,
        "rule": rejected.rule,
        "request": origin.request,
        "index": origin.index,
        "ledger_key": origin.key,
    }
    if example is None:
        return line | {"text": rejected.text}
    line |= {"instruction": example.instruction, "input": example.input, "output": example.output}
    if rejected.similarity is not None:
        # Not rounded: 0.7000000000000001 was rejected and 0.7 was not.
        line |= {"similarity": rejected.similarity, "nearest": rejected.nearest}
    if rejected.file:
        line |= {"file": rejected.file}
    return line
