"""The stage: the same held-out items for every model, measures without a judge, and judges who see but answers."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.recipe import Recipe
from pacos.core.records import read_examples
from pacos.core.run_folder import RunFolder
from pacos.evaluate.answer_files import Answers
from pacos.evaluate.answers import answer_items
from pacos.evaluate.candidates import Candidate, find_candidates
from pacos.evaluate.certify.certificate import why_uncertified
from pacos.evaluate.exact_match import exact_match
from pacos.evaluate.examples import pick_examples
from pacos.evaluate.items import Item, builtin_items, file_items, read_or_make_items
from pacos.evaluate.measures import Measures, measure, read_measure_inputs
from pacos.evaluate.published_answers import is_answers_file
from pacos.evaluate.report import Comparison, EvaluateReport
from pacos.evaluate.stopwatch import Stopwatch
from pacos.evaluate.tables import print_report
from pacos.evaluate.training_data import has_training_data
from pacos.evaluate.verdicts import judge_agreement, pairwise, slot_effect_of
from pacos.evaluate.voting import Judgment, judge_answers, write_verdicts
from pacos.judging import Judge, judges_of, prompt_files


def run(recipe: Recipe, run_folder: RunFolder) -> EvaluateReport:
    """Compares the recipe's candidates with its baseline and writes evaluate/."""
    # What is wrong with a judge's prompt is said before models are asked, which may take hours.
    models, judges, to_ask = find_candidates(recipe, run_folder), judges_of(recipe), _items(recipe, run_folder)
    _check_judges(judges, to_ask)
    with run_folder.stage("evaluate", _inputs(recipe, run_folder)) as stage:
        _warn_of_questions_given_away(recipe, run_folder)
        items = read_or_make_items(stage.folder / "items.jsonl", to_ask)
        # Read before anything is asked: what is wrong with it is said at once.
        known = read_measure_inputs(recipe, run_folder, items, models)
        with Stopwatch(stage.folder / "seconds.json") as watch:
            answers = {}
            for model in models:
                answers[model.label] = answer_items(model, items, stage.folder, recipe.evaluate.max_tokens)
                watch.save()
            measures = measure(recipe, known, items, models, answers, stage.folder)
            watch.save()
            seed = recipe.evaluate.seed
            judgment = judge_answers(stage.folder, judges, items, answers, models[0].label, seed)
            write_verdicts(stage.folder / "verdicts.jsonl", judgment.verdicts)
            uncertified = {each.name: why for each in judges if (why := why_uncertified(each, run_folder.path))}
            report = _report(items, answers, models, judges, judgment, measures, seed, uncertified, watch)
        _warn_of_absent(report)
        stage.finish(report, ("items.jsonl", "answers", "ballots.sqlite", "verdicts.jsonl"))
        print_report(report, stage.folder)
        return report


def _inputs(recipe: Recipe, run_folder: RunFolder) -> tuple[Path, ...]:
    table = recipe.evaluate
    given = [table.instructions, table.references, table.multiple_choice, *table.perplexity]
    given += filter(is_answers_file, (table.baseline, *table.candidates))
    files = [run_folder.path / "train" / "done.json", *map(Path, given), *prompt_files(recipe)]
    return (*files, run_folder.dataset)


def _items(recipe: Recipe, run_folder: RunFolder) -> Iterable[Item]:
    has_training_data(recipe, run_folder)
    if recipe.evaluate.instructions:
        return file_items(Path(recipe.evaluate.instructions))
    return _held_out(run_folder.dataset, recipe)


def _check_judges(judges: Sequence[Judge], to_ask: Iterable[Item]) -> None:
    """PacosError where a judge could judge nothing: the builtin one of a file of items without a known right answer."""
    rules = [judge.name for judge in judges if judge.table.engine == "builtin"]
    if rules and isinstance(to_ask, list) and not any(item.reference for item in to_ask):
        raise PacosError(
            f"{rules[0]} needs references, an output of each item in evaluate.instructions; {len(to_ask):,} "
            f"{'item has' if len(to_ask) == 1 else 'items have'} none; name another judge in evaluate.judges."
        )


def _warn_of_questions_given_away(recipe: Recipe, run_folder: RunFolder) -> None:
    path, training = recipe.evaluate.instructions, run_folder.dataset
    hashes = run_folder.read_by("generate")
    if path and hashes is not None and not recipe.train.dataset and sha256_file(Path(path)) not in hashes.values():
        print(
            f"evaluate: {path} was not named when this run's data was generated, so its questions were not kept out; "
            f"`pacos generate --audit {training} --against {path}` finds those that are in it.",
            file=sys.stderr,
        )


def _warn_of_absent(report: EvaluateReport) -> None:
    """A comparison without one readable verdict is no tie: it says nothing."""
    for label, comparison in report.comparisons.items():
        if not comparison.main.judged:
            print(
                f"evaluate: {label} against {report.baseline}: none of {comparison.main.unparsable:,} items has a "
                "readable verdict, so there is no win rate; look at the judge's replies in ledger.sqlite, then give "
                "another judge and --run another folder.",
                file=sys.stderr,
            )


def _held_out(training: Path, recipe: Recipe) -> Iterator[Item]:
    # A generator, so that a resumed run, which reads its items, does not read the training data again.
    yield from builtin_items(read_examples(training), recipe.evaluate.items_per_skill, recipe.evaluate.seed)


def _report(
    items: Sequence[Item],
    answers: Answers,
    models: Sequence[Candidate],
    judges: Sequence[Judge],
    judgment: Judgment,
    measures: Measures,
    seed: int,
    uncertified: dict[str, str],
    watch: Stopwatch,
) -> EvaluateReport:
    main = [item for item in items if item.set == "main"]
    harder = [item for item in items if item.set == "harder"]
    on_main, on_harder = exact_match(main, answers), exact_match(harder, answers)
    comparisons = {label: _compare(label, judgment) for label in judgment.pairs}
    first = models[1].label
    votes = {judge.name: [vote for vote in judgment.votes if vote.voter == judge.name] for judge in judges}
    return EvaluateReport(
        items=len(main),
        items_harder=len(harder),
        baseline=models[0].label,
        candidates=[model.label for model in models[1:]],
        judges=list(votes),
        exact_match_items=on_main.items,
        exact_match_harder_items=on_harder.items,
        exact_match=on_main.rates,
        exact_match_intervals=on_main.intervals,
        exact_match_chance_corrected=on_main.chance_corrected,
        exact_match_harder=on_harder.rates,
        exact_match_harder_intervals=on_harder.intervals,
        per_skill=on_main.per_skill,
        per_skill_harder=on_harder.per_skill,
        pairwise=comparisons[first].main,
        comparisons=comparisons,
        slot_effect={judge: slot_effect_of(judgment.ballots, cast) for judge, cast in votes.items()},
        judge_agreement=judge_agreement(judgment.verdicts),
        certified={judge: judge not in uncertified for judge in votes},
        uncertified=uncertified,
        examples=pick_examples(main, answers, first, seed),
        usd=round(judgment.usd, 6),
        seconds=round(watch.seconds, 2),
        rouge_l=measures.rouge_l,
        empty_answers={
            label: sum(not each.text.strip() for each in given.values()) for label, given in answers.items()
        },
        multiple_choice=measures.multiple_choice,
        perplexity=measures.perplexity,
        memorisation=measures.memorisation,
        contamination=measures.contamination,
        repeats_references=measures.repeats_references,
    )


def _compare(label: str, judgment: Judgment) -> Comparison:
    main, harder = ([p for p in judgment.pairs[label] if p.item.set == name] for name in ("main", "harder"))
    compared = pairwise(main, judgment.verdicts)
    return Comparison(compared, pairwise(harder, judgment.verdicts) if harder else None)
