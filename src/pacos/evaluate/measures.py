"""The measures without a judge, all of one evaluation: what they need is read first, then every model is asked once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacos.core.recipe import Recipe
from pacos.core.run_folder import RunFolder
from pacos.evaluate.answer_files import Answers
from pacos.evaluate.candidates import Candidate
from pacos.evaluate.contamination import EvaluationSet, contaminated, question_text
from pacos.evaluate.items import Item
from pacos.evaluate.likelihood import Likelihoods, form_of, likelihoods
from pacos.evaluate.memorisation import Recall, measure_recall, recall, recalls
from pacos.evaluate.multiple_choice import ChoiceQuestion, choice_passages, measure_choices, read_questions
from pacos.evaluate.overlap import measure_overlap, references_of, repeating
from pacos.evaluate.perplexity import HELD_OUT, KnownText, measure_perplexity, read_texts, text_passages
from pacos.evaluate.published_answers import check_published
from pacos.evaluate.report import Contaminated, Memorisation, MultipleChoice, Perplexity, RougeL
from pacos.evaluate.training_data import TrainingSplit, read_training


@dataclass(frozen=True)
class MeasureInputs:
    """What models are measured on, beside the items: right answers, questions with choices, texts, training data."""

    references: Mapping[str, Sequence[str]]
    questions: list[ChoiceQuestion]
    texts: list[KnownText]
    recalls: list[Recall]
    training: TrainingSplit | None


@dataclass(frozen=True)
class Measures:
    """The report's part without judges."""

    rouge_l: RougeL | None
    multiple_choice: MultipleChoice | None
    perplexity: list[Perplexity]
    memorisation: list[Memorisation]
    contamination: list[Contaminated]
    repeats_references: dict[str, float]


def read_measure_inputs(
    recipe: Recipe, run_folder: RunFolder, items: Sequence[Item], models: Sequence[Candidate]
) -> MeasureInputs:
    """Reads all that is to be measured on; PacosError for whatever is wrong with it, published answers included."""
    table = recipe.evaluate
    for model in models:
        if model.published:
            check_published(model.published, items, model.table.path)
    references = references_of(items, table.references)
    questions = read_questions(table.multiple_choice) if table.multiple_choice else []
    training = read_training(recipe, run_folder)
    texts = read_texts(table.perplexity, training.held_out if training else [])
    asked_again = recalls(training, table.memorisation, table.seed) if training else []
    return MeasureInputs(references, questions, texts, asked_again, training)


def measure(
    recipe: Recipe,
    known: MeasureInputs,
    items: Sequence[Item],
    models: Sequence[Candidate],
    answers: Answers,
    folder: Path,
) -> Measures:
    """Asks every model for likelihoods and recalls that the ledger in `folder` does not hold yet, and measures all."""
    table, baseline, seed = recipe.evaluate, models[0].label, recipe.evaluate.seed
    found: dict[str, Likelihoods] = {}
    written: dict[str, dict[str, str]] = {}
    asked = [model for model in models if not model.published and (known.questions or known.texts)]
    forms = {model.label: form_of(model) for model in asked}
    for model in models:
        form = forms.get(model.label, "raw")
        passages = [*choice_passages(model, form, known.questions), *text_passages(model, form, known.texts)]
        found[model.label] = likelihoods(model, passages, folder)
        written[model.label] = recall(model, known.recalls, folder)
    repeats = repeating(answers, known.references)
    own = {
        model.label: "its answers are the references"
        for model in models
        if model.label in repeats
        or (model.published and Path(model.table.path).resolve() == Path(table.references).resolve())
    }
    choices = (
        measure_choices(table.multiple_choice, known.questions, forms, found, baseline, seed)
        if known.questions
        else None
    )
    return Measures(
        rouge_l=measure_overlap(answers, known.references, baseline, seed, own),
        multiple_choice=choices,
        perplexity=measure_perplexity(known.texts, found, baseline, seed),
        memorisation=measure_recall(known.recalls, written, baseline, seed),
        contamination=_contamination(recipe, known, items),
        repeats_references=repeats,
    )


def _contamination(recipe: Recipe, known: MeasureInputs, items: Sequence[Item]) -> list[Contaminated]:
    """Everything that is asked or measured in this evaluation against the training data; nothing without these."""
    table, training = recipe.evaluate, known.training
    if not training:
        return []
    names = {"main": table.instructions or "held-out tasks", "harder": "harder tasks"}
    sets = [
        EvaluationSet(names[kind], [question_text(item) for item in items if item.set == kind])
        for kind in dict.fromkeys(item.set for item in items)
    ]
    answers = [answer for of_item in known.references.values() for answer in of_item]
    sets += [EvaluationSet(table.references or f"{table.instructions}: answers", answers, False)] * bool(answers)
    if known.questions:
        sets.append(EvaluationSet(f"multiple choice: {table.multiple_choice}", [q.question for q in known.questions]))
    if any(text.name == HELD_OUT for text in known.texts) or any(e.examples == "held-out" for e in known.recalls):
        sets.append(EvaluationSet("held-out examples", [question_text(each) for each in training.held_out]))
    for text in known.texts:
        if text.name != HELD_OUT:
            sets.append(EvaluationSet(text.name, [part.output for part in text.parts], False))
    return contaminated(sets, training)
