"""A folder of outputs, annotations and published tables, read once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pacos.core.errors import PacosError
from pacos.evaluate.leaderboard.annotations import AnnotationSet, OutputSet, read_annotations, read_outputs
from pacos.evaluate.leaderboard.published import (
    BenchmarkItems,
    GamedBaselines,
    LengthControlWeights,
    PublishedTable,
    read_gamed_baselines,
    read_items,
    read_matrix,
    read_table,
    read_weights,
)

T = TypeVar("T")
RECORD_FILES = {".json", ".jsonl", ".csv", ".parquet"}


@dataclass(frozen=True)
class Benchmark:
    """One of AlpacaEval's two: its main judge, and the baseline that every other judge of it compares with, too."""

    number: int
    judge: str
    baselines: tuple[str, ...]


BENCHMARKS = (
    Benchmark(1, "alpaca_eval_gpt4", ("text_davinci_003",)),
    Benchmark(2, "weighted_alpaca_eval_gpt4_turbo", ("gpt4_1106_preview", "gpt4_turbo")),
)


@dataclass
class LeaderboardFolder:
    """What could be read of a folder, and a line for each file that could not be, or is not there."""

    path: Path
    outputs: list[OutputSet] = field(default_factory=list)
    annotations: list[AnnotationSet] = field(default_factory=list)
    tables: list[PublishedTable] = field(default_factory=list)
    weights: dict[str, LengthControlWeights] = field(default_factory=dict)
    items: BenchmarkItems | None = None
    gamed_baselines: GamedBaselines | None = None
    unread: list[str] = field(default_factory=list)

    def benchmark_of(self, judge: str, baseline: str = "") -> int | None:
        """1 or 2: by the judge, by a published table of it, or by the baseline; None for neither."""
        by_judge = {benchmark.judge: benchmark.number for benchmark in BENCHMARKS}
        by_table = {table.judge: table.benchmark for table in self.tables if table.benchmark}
        by_baseline = {name: benchmark.number for benchmark in BENCHMARKS for name in benchmark.baselines}
        return by_judge.get(judge) or by_table.get(judge) or by_baseline.get(baseline)

    def published(self, judge: str) -> Mapping[str, Mapping[str, float]]:
        """The rows of the judge's published tables; none where there is no table."""
        # AlpacaEval leaves a table beside each model's annotations, too; what is in leaderboards/ counts.
        own = [table for table in self.tables if table.judge == judge]
        own.sort(key=lambda table: table.benchmark is not None)
        return {model: row for table in own for model, row in table.rows.items()}

    def against(self, annotated: AnnotationSet) -> str:
        """What tells this annotation from others of the judge, where it judged a model against several baselines."""
        models = [each.model for each in self.annotations if each.judge == annotated.judge]
        return f" against {annotated.baseline}" if len(set(models)) < len(models) else ""

    def comparable(self) -> list[list[AnnotationSet]]:
        """The annotations in groups whose numbers may be compared: of one judge, against one baseline; by model."""
        groups: dict[tuple[str, str], list[AnnotationSet]] = {}
        for annotated in sorted(self.annotations, key=lambda each: (each.judge, each.model)):
            groups.setdefault((annotated.judge, self.against(annotated)), []).append(annotated)
        return list(groups.values())


def open_folder(path: Path) -> LeaderboardFolder:
    """Reads results/MODEL/model_outputs.json, annotations wherever below, leaderboards/, weights/ and derived/.

    Without results/, models' folders are looked for in the folder itself. Of what is both an annotation file and a
    column of a preference matrix, the file counts. Raises PacosError where nothing of all this can be read.
    """
    if not path.is_dir():
        raise PacosError(f"{path}: no such folder; expected one of outputs and annotations. Check the path.")
    folder = LeaderboardFolder(path)
    _read_published(folder)
    _read_results(folder, path / "results" if (path / "results").is_dir() else path)
    if not (folder.annotations or folder.outputs or folder.tables):
        raise nothing_there(folder, "annotations, outputs or leaderboards")
    return folder


def nothing_there(folder: LeaderboardFolder, what: str) -> PacosError:
    """The error for a folder that has none of what is asked for, with the first line of what could not be read."""
    told = f" The first that cannot be read: {folder.unread[0]}" if folder.unread else ""
    return PacosError(
        f"{folder.path}: has no {what} that can be read; expected such files as results/MODEL/JUDGE/annotations.json."
        f"{told}"
    )


def _attempt(folder: LeaderboardFolder, read: Callable[..., T], *arguments: object) -> T | None:
    try:
        return read(*arguments)
    except PacosError as error:
        folder.unread.append(str(error))
        return None


def _read_published(folder: LeaderboardFolder) -> None:
    for path in sorted(folder.path.rglob("*leaderboard*.csv")):
        if table := _attempt(folder, read_table, path):
            folder.tables.append(table)
    for path in sorted((folder.path / "weights").rglob("*.csv")):
        folder.weights.update(_attempt(folder, read_weights, path) or {})
    derived = folder.path / "derived"
    if not derived.is_dir():
        return
    folder.items = items = _attempt(folder, read_items, derived / "instructions_gamma_order.csv")
    sums = derived / "gamed_sufficient_stats.json"
    folder.gamed_baselines = _attempt(folder, read_gamed_baselines, derived / "gamed_baseline_tanh.csv", sums)
    for benchmark in BENCHMARKS:
        preferences, lengths = (
            derived / f"ae{benchmark.number}_{name}.csv.gz" for name in ("preference_matrix", "output2_len")
        )
        if items and (preferences.exists() or lengths.exists()):
            folder.annotations.extend(_attempt(folder, read_matrix, preferences, lengths, benchmark.judge, items) or ())


def _read_results(folder: LeaderboardFolder, results: Path) -> None:
    found: dict[tuple[str, str, str], AnnotationSet] = {}
    broken = set()
    for path in sorted(results.rglob("*")):
        if not RECORD_FILES.intersection(path.suffixes) or not path.is_file():
            continue
        inside = path.relative_to(results).parts
        model = inside[0] if len(inside) > 1 else None
        lines_before = len(folder.unread)
        if "annotations" in path.stem:
            annotations = _attempt(folder, read_annotations, path, model) or []
            if any(each.judge == model for each in annotations):
                # The folder given is a model's own, and what lies in it is the judge's.
                annotations = _attempt(folder, read_annotations, path, None) or []
            for annotated in annotations:
                first = found.setdefault((annotated.model, annotated.judge, annotated.baseline), annotated)
                if first is not annotated:
                    folder.unread.append(
                        f"{path}: annotates {annotated.model} by {annotated.judge} as {first.path} does, which counts; "
                        "remove one of them."
                    )
        elif "outputs" in path.stem:
            folder.outputs.extend(_attempt(folder, read_outputs, path, model) or ())
        if len(folder.unread) > lines_before:
            broken.add(model)
    _note_missing(folder, list(found.values()), broken)
    files = {(model, judge) for model, judge, _ in found}
    columns = [each for each in folder.annotations if (each.model, each.judge) not in files]
    folder.annotations[:] = [*columns, *found.values()]


def _note_missing(folder: LeaderboardFolder, annotations: list[AnnotationSet], told: set[str | None]) -> None:
    """A line for outputs without annotations, unless they are a baseline's, and for annotations without outputs.

    Not for models of which a line is `told` already.
    """
    answered = {each.model: each.path for each in folder.outputs}
    judged = {each.model: each.path for each in annotations}
    baselines = {each.baseline for each in annotations}
    for model in sorted(answered.keys() - judged.keys() - baselines - told if judged else ()):
        folder.unread.append(
            f"{answered[model]}: no annotations of {model} can be read beside it; add them, or remove it."
        )
    for model in sorted(judged.keys() - answered.keys() - told if answered else ()):
        folder.unread.append(
            f"{judged[model]}: no outputs of {model} can be read, so what was judged cannot be compared with them; add "
            "them as model_outputs.json."
        )
    for annotated in annotations:
        if missing := [
            f"output_{n}" for n, own in ((1, annotated.baseline_outputs), (2, annotated.model_outputs)) if own is None
        ]:
            folder.unread.append(
                f"{annotated.path}: not every record has {' and '.join(missing)}, so only win rates can be told; "
                "expected the baseline's output as output_1 and the model's as output_2."
            )
