"""What was made: from the tasks asked for to the examples kept, and how varied these are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pacos.generate.filters import MEANINGS
from pacos.study.page.data_plots import lengths_plot, similarity_plot, sunburst_plot, yield_plot
from pacos.study.page.run_files import RunFiles
from pacos.study.page.svg import Plot

NUM_SAMPLES = 4


@dataclass(frozen=True)
class Fall:
    """One bar of the funnel: `left` and `width` are percentages of the widest."""

    id: str
    name: str
    meaning: str
    count: int
    left: float
    width: float
    kind: str


@dataclass(frozen=True)
class Verb:
    """A verb that instructions begin with, how many do, and what it acts on; `width` in percent of the commonest."""

    verb: str
    count: int
    width: float
    objects: str


@dataclass(frozen=True)
class Made:
    """The first section; None where the stage is not finished."""

    report: Mapping[str, Any]
    is_rule_based: bool
    funnel: list[Fall]
    rejected_samples: Sequence[Mapping[str, Any]]
    samples: Sequence[Mapping[str, Any]]
    distinct_instructions: int
    distinct_outputs: int
    diversity: Mapping[str, Any]
    sunburst: Plot | None
    verbs: list[Verb]
    plots: list[Plot]


def made(files: RunFiles) -> Made | None:
    """Reads generate/."""
    stage = files.stages["generate"]
    if not stage.done:
        return None
    report = stage.report
    records = list(files.records("generate", "dataset.jsonl"))
    diversity = report.get("diversity") or {}
    threshold = files.recipe.get("generate", {}).get("similarity_threshold")
    return Made(
        report=report,
        is_rule_based=str(report.get("teacher", "")).startswith("builtin:"),
        funnel=_funnel(report),
        rejected_samples=_one_a_rule(files.records("generate", "rejected.jsonl"), report["rejected"]),
        samples=records[:: max(len(records) // NUM_SAMPLES, 1)][:NUM_SAMPLES],
        distinct_instructions=len({record["instruction"] for record in records}),
        distinct_outputs=len({record["output"] for record in records}),
        diversity=diversity,
        sunburst=sunburst(diversity),
        verbs=verb_rows(diversity),
        plots=_plots(report, records, threshold),
    )


def _funnel(report: Mapping[str, Any]) -> list[Fall]:
    """Asked, read, each rule's rejections as a step down, kept."""
    asked, parsed, kept = report["asked"], report["parsed"], report["kept"]
    whole = max(asked, parsed, 1)

    def fall(id: str, name: str, meaning: str, count: int, left: int, kind: str) -> Fall:
        return Fall(id, name, meaning, count, 100 * left / whole, 100 * count / whole, kind)

    falls = [
        fall("asked", "asked for", "tasks that the teacher was asked to write", asked, 0, "stage"),
        fall("parsed", "read", "tasks found in its replies", parsed, 0, "stage"),
    ]
    left = parsed
    for rule, count in sorted(report["rejected"].items(), key=lambda item: -item[1]):
        left -= count
        falls.append(fall(f"rejected-{rule}", rule, MEANINGS.get(rule, ""), count, left, "rejected"))
    return [*falls, fall("kept", "kept", "examples in the data set", kept, 0, "kept")]


def _one_a_rule(rejected: Iterable[Mapping[str, Any]], rules: Iterable[str]) -> list[Mapping[str, Any]]:
    """The first rejected record of each rule, in the order of `rules`."""
    first: dict[str, Mapping[str, Any]] = {}
    for record in rejected:
        first.setdefault(record["rule"], record)
    return [first[rule] for rule in rules if rule in first]


def sunburst(diversity: Mapping[str, Any]) -> Plot | None:
    """The figure of verbs and objects; None where no instruction begins with a verb."""
    verbs = diversity.get("verbs") or []
    return sunburst_plot(verbs, diversity["instructions"]) if verbs else None


def verb_rows(diversity: Mapping[str, Any]) -> list[Verb]:
    """The same as rows of a table."""
    verbs = diversity.get("verbs") or []
    most = max((verb["count"] for verb in verbs), default=1)
    return [
        Verb(
            verb["verb"],
            verb["count"],
            100 * verb["count"] / most,
            ", ".join(f"{pair['object']} {pair['count']:,}" for pair in verb["objects"]),
        )
        for verb in verbs
    ]


def _plots(report: Mapping[str, Any], records: Sequence[Mapping[str, Any]], threshold: float | None) -> list[Plot]:
    plots = []
    if records:
        fields = {
            name: [len(record[name].split()) for record in records] for name in ("instruction", "input", "output")
        }
        plots.append(lengths_plot({name: [length for length in lengths if length] for name, lengths in fields.items()}))
    if report.get("similarities"):
        plots.append(similarity_plot(report["similarities"], threshold))
    if len(report.get("yield_over_time") or []) > 1:
        plots.append(yield_plot(report["yield_over_time"]))
    return plots
