"""What the run's student was trained on, and what was kept from it."""

from dataclasses import dataclass

from pacos.core.heldout import split_heldout
from pacos.core.recipe import Recipe
from pacos.core.records import Example, examples_of, read_dataset
from pacos.core.run_folder import RunFolder


@dataclass(frozen=True)
class TrainingSplit:
    """Examples that were trained on and that were kept back; a conversation stands there by its first one."""

    name: str
    trained: list[Example]
    held_out: list[Example]


def read_training(recipe: Recipe, run_folder: RunFolder) -> TrainingSplit:
    """The run's data set as its training split it."""
    records, table = read_dataset(run_folder.dataset).sound(), recipe.train
    split = split_heldout(records, table.max_examples, table.mode == "alpaca-2023")
    trained, held_out = ([examples_of(record)[0] for record in group] for group in split)
    return TrainingSplit(str(run_folder.dataset), trained, held_out)
