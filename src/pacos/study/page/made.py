"""What was made: from the tasks asked for to the examples kept, and how varied these are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pacos.generate.filters import MEANINGS
from pacos.generate.report import Diversity, GenerateReport
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

    report: GenerateReport
    is_rule_based: bool
    funnel: list[Fall]
    rejected_samples: Sequence[Mapping[str, Any]]
    samples: Sequence[Mapping[str, Any]]
    distinct_instructions: int
    distinct_outputs: int
    sunburst: Plot | None
    verbs: list[Verb]
    plots: list[Plot]


def made(files: RunFiles) -> Made | None:
    """Reads generate/."""
    report = files.generate
    if not report:
        return None
    records = files.records("dataset.jsonl")
    return Made(
        report=report,
        is_rule_based=report.teacher.startswith("builtin:"),
        funnel=_funnel(report),
        rejected_samples=_one_a_rule(files.records("rejected.jsonl"), report.rejected),
        samples=records[:: max(len(records) // NUM_SAMPLES, 1)][:NUM_SAMPLES],
        distinct_instructions=len({record["instruction"] for record in records}),
        distinct_outputs=len({record["output"] for record in records}),
        sunburst=sunburst(report.diversity),
        verbs=verb_rows(report.diversity),
        plots=_plots(report, records, files.recipe.generate.similarity_threshold),
    )


def _funnel(report: GenerateReport) -> list[Fall]:
    """Asked, read, each rule's rejections as a step down, kept."""
    asked, parsed, kept = report.asked, report.parsed, report.kept
    whole = max(asked, parsed)

    def fall(key: str, name: str, meaning: str, count: int, left: int, kind: str) -> Fall:
        return Fall(key, name, meaning, count, 100 * left / whole, 100 * count / whole, kind)

    falls = [
        fall("asked", "asked for", "tasks that the teacher was asked to write", asked, 0, "stage"),
        fall("parsed", "read", "tasks found in its replies", parsed, 0, "stage"),
    ]
    left = parsed
    for rule, count in sorted(report.rejected.items(), key=lambda item: -item[1]):
        left -= count
        falls.append(fall(f"rejected-{rule}", rule, MEANINGS[rule], count, left, "rejected"))
    return [*falls, fall("kept", "kept", "examples in the data set", kept, 0, "kept")]


def _one_a_rule(rejected: Iterable[Mapping[str, Any]], rules: Iterable[str]) -> list[Mapping[str, Any]]:
    """The first rejected record of each rule, in the order of `rules`."""
    first: dict[str, Mapping[str, Any]] = {}
    for record in rejected:
        first.setdefault(record["rule"], record)
    return [first[rule] for rule in rules if rule in first]


def sunburst(diversity: Diversity) -> Plot | None:
    """The figure of verbs and the words after them; None where no instruction begins with a verb."""
    return sunburst_plot(diversity) if diversity.verbs else None


def verb_rows(diversity: Diversity) -> list[Verb]:
    """The same as rows of a table."""
    most = max((verb.count for verb in diversity.verbs), default=1)
    return [
        Verb(
            verb.verb,
            verb.count,
            100 * verb.count / most,
            ", ".join(f"{o.object}\u00a0{o.count:,}" for o in verb.objects),
        )
        for verb in diversity.verbs
    ]


def _plots(report: GenerateReport, records: Sequence[Mapping[str, Any]], threshold: float) -> list[Plot]:
    fields = {name: [len(record[name].split()) for record in records] for name in ("instruction", "input", "output")}
    near = report.similarities
    plots = [
        lengths_plot({name: [length for length in lengths if length] for name, lengths in fields.items()}),
        similarity_plot(near.edges, near.nearest, threshold, near.nearest_seed),
    ]
    return [*plots, yield_plot(report.yield_over_time)] if len(report.yield_over_time) > 1 else plots
