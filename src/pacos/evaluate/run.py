"""The stage: the same held-out items for every model, exact match, and judges who see nothing but answers."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.recipe import Recipe
from pacos.core.records import read_examples
from pacos.core.run_folder import RunFolder, Stage
from pacos.evaluate.answers import answer_items
from pacos.evaluate.candidates import Candidate, find_candidates
from pacos.evaluate.exact_match import Answers, exact_match
from pacos.evaluate.examples import pick_examples
from pacos.evaluate.items import Item, builtin_items, file_items, read_or_make_items
from pacos.evaluate.judges import Judgment, judge_answers, judges_of, write_verdicts
from pacos.evaluate.stopwatch import Stopwatch
from pacos.evaluate.tables import print_report
from pacos.evaluate.verdicts import judge_agreement, pairwise, slot_effect


@dataclass(frozen=True)
class EvaluateReport:
    """What was measured. `exact_match` and its kin are shares by model label; intervals are 95%.

    `pairwise` is the first candidate against the baseline on the main items, ties as half; `comparisons` has every
    candidate, and the harder items apart. `slot_effect` is by judge. `seconds` adds up all processes that
    worked on the stage; one that was killed counts up to the last model whose answers it finished.
    """

    items: int
    items_harder: int
    baseline: str
    candidates: list[str]
    judges: list[str]
    exact_match: dict[str, float | None]
    exact_match_intervals: dict[str, Any]
    exact_match_chance_corrected: dict[str, float | None]
    exact_match_harder: dict[str, float | None]
    exact_match_harder_intervals: dict[str, Any]
    per_skill: list[dict[str, Any]]
    per_skill_harder: list[dict[str, Any]]
    pairwise: dict[str, Any]
    pairwise_harder: dict[str, Any] | None
    comparisons: dict[str, dict[str, Any]]
    slot_effect: dict[str, Any]
    judge_agreement: float | None
    examples: list[dict[str, Any]]
    usd: float
    seconds: float


def run(recipe: Recipe, run: RunFolder) -> EvaluateReport:
    """Compares the recipe's candidates with its baseline and writes evaluate/; a finished stage is only read."""
    models, to_ask = find_candidates(recipe, run), _items(recipe, run)
    with run.stage("evaluate", ("train", "evaluate", "judge"), _inputs(recipe, run)) as stage:
        if stage.done:
            print(f"evaluate: done before, see {stage.folder}")
            return _finished(stage)
        _warn_of_questions_given_away(recipe, run)
        items = read_or_make_items(stage.folder / "items.jsonl", to_ask)
        with Stopwatch(stage.folder / "seconds.json") as watch:
            answers = {}
            for model in models:
                answers[model.label] = answer_items(model, items, stage.folder / f"answers/{model.label}.jsonl")
                watch.save()
            judges, seed = judges_of(recipe), recipe.evaluate.seed
            judgment = judge_answers(stage.folder / "ballots.sqlite", judges, items, answers, models[0].label, seed)
            write_verdicts(stage.folder / "verdicts.jsonl", judgment.verdicts)
            report = _report(items, answers, models, judgment, seed, watch)
        stage.finish(asdict(report), ("items.jsonl", "answers", "ballots.sqlite", "verdicts.jsonl"))
        print_report(report.__dict__, stage.folder)
        return report


def _finished(stage: Stage) -> EvaluateReport:
    try:
        return EvaluateReport(**stage.report())
    except TypeError:
        raise PacosError(
            f"{stage.folder / 'report.json'}: not an evaluate report of this version of pacos; what lies beside it is "
            "as it was. Give --run another folder, or use the version that made it."
        ) from None


def _inputs(recipe: Recipe, run: RunFolder) -> tuple[Path, ...]:
    files = [run.path / "train" / "done.json", Path(recipe.evaluate.instructions)]
    return (*files, _training_file(recipe, run))


def _training_file(recipe: Recipe, run: RunFolder) -> Path:
    return Path(recipe.train.dataset) if recipe.train.dataset else run.path / "generate" / "dataset.json"


def _items(recipe: Recipe, run: RunFolder) -> Iterable[Item]:
    if recipe.evaluate.instructions:
        return list(file_items(Path(recipe.evaluate.instructions)))
    if not recipe.train.dataset:
        run.finished("generate")
    return _held_out(_training_file(recipe, run), recipe)


def _warn_of_questions_given_away(recipe: Recipe, run: RunFolder) -> None:
    path, read = recipe.evaluate.instructions, run.read_by("generate")
    if path and read is not None and not recipe.train.dataset and sha256_file(Path(path)) not in read.values():
        print(
            f"evaluate: {path} was not named when this run's data was generated, so its questions were not kept out; "
            f"`pacos generate --audit {_training_file(recipe, run)} --against {path}` finds those that are in it.",
            file=sys.stderr,
        )


def _held_out(training: Path, recipe: Recipe) -> Iterator[Item]:
    # A generator, so that a resumed run, which reads its items, does not read the training data again.
    yield from builtin_items(read_examples(training), recipe.evaluate.items_per_skill, recipe.evaluate.seed)


def _report(
    items: Sequence[Item],
    answers: Answers,
    models: Sequence[Candidate],
    judgment: Judgment,
    seed: int,
    watch: Stopwatch,
) -> EvaluateReport:
    main = [item for item in items if item.set == "main"]
    harder = [item for item in items if item.set == "harder"]
    on_main, on_harder = exact_match(main, answers), exact_match(harder, answers)
    comparisons = {label: _compare(label, judgment) for label in judgment.pairs}
    first = models[1].label
    judges = list(dict.fromkeys(ballot.judge for ballot in judgment.ballots))
    return EvaluateReport(
        items=len(main),
        items_harder=len(harder),
        baseline=models[0].label,
        candidates=[model.label for model in models[1:]],
        judges=judges,
        exact_match=on_main.rates,
        exact_match_intervals=on_main.intervals,
        exact_match_chance_corrected=on_main.chance_corrected,
        exact_match_harder=on_harder.rates,
        exact_match_harder_intervals=on_harder.intervals,
        per_skill=[asdict(row) for row in on_main.per_skill],
        per_skill_harder=[asdict(row) for row in on_harder.per_skill],
        pairwise=comparisons[first]["main"],
        pairwise_harder=comparisons[first]["harder"],
        comparisons=comparisons,
        slot_effect={
            judge: asdict(slot_effect([b for b in judgment.ballots if b.judge == judge], judgment.votes))
            for judge in judges
        },
        judge_agreement=judge_agreement(judgment.verdicts),
        examples=pick_examples(main, answers, first, seed),
        usd=round(sum(judgment.votes[ballot.id].usd for ballot in judgment.ballots), 6),
        seconds=round(watch.seconds, 2),
    )


def _compare(label: str, judgment: Judgment) -> dict[str, Any]:
    pairs = {set: [pair for pair in judgment.pairs[label] if pair.item.set == set] for set in ("main", "harder")}
    return {set: asdict(pairwise(of_set, judgment.verdicts)) if of_set else None for set, of_set in pairs.items()}
