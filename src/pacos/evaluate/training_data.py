"""What the run's student was trained on, and what was kept from it."""

from dataclasses import dataclass

from pacos.core.heldout import split_heldout
from pacos.core.recipe import Recipe
from pacos.core.records import Example, examples_of, read_dataset
from pacos.core.run_folder import RunFolder
from pacos.evaluate.perplexity import HELD_OUT


@dataclass(frozen=True)
class TrainingSplit:
    """Examples that were trained on and that were kept back; a conversation stands there by its first one."""

    name: str
    trained: list[Example]
    held_out: list[Example]


def has_training_data(recipe: Recipe, run_folder: RunFolder) -> bool:
    """Whether a data set plays a part in this evaluation. Between models that exist already none needs to be.

    Raises PacosError where one is needed, and neither named nor made yet.
    """
    table = recipe.evaluate
    models_exist = table.instructions and "student" not in (table.baseline, *table.candidates)
    if recipe.train.dataset or (models_exist and run_folder.is_done("generate")):
        return True
    if models_exist and not table.memorisation and HELD_OUT not in table.perplexity:
        return False
    run_folder.finished("generate")
    return True


def read_training(recipe: Recipe, run_folder: RunFolder) -> TrainingSplit | None:
    """The run's data set as its training split it; None where the evaluation has none."""
    if not has_training_data(recipe, run_folder):
        return None
    records, table = read_dataset(run_folder.dataset).sound(), recipe.train
    split = split_heldout(records, table.max_examples, table.mode == "alpaca-2023")
    trained, held_out = ([examples_of(record)[0] for record in group] for group in split)
    return TrainingSplit(str(run_folder.dataset), trained, held_out)
