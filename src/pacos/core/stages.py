"""What a stage is: its name, what of the recipe shapes what it makes, and which stages it needs."""

from dataclasses import dataclass

from pacos.core.recipe import Recipe


@dataclass(frozen=True)
class Stage:
    """A stage whose folder in a run bears its name."""

    name: str
    tables: tuple[str, ...]
    """The recipe's tables that shape what it makes; those that shape what it needs shape it too."""
    needs: tuple[str, ...] = ()
    """The stages whose results it reads, and which must be finished before."""
    reads: tuple[tuple[str, str], ...] = ()
    """(table, key) of files it reads that are named in other tables."""

    def shaped_by(self, recipe: Recipe) -> tuple[str, ...]:
        """All tables that shape it under this recipe, "engines.NAME" among them."""
        needed = [table for stage in stages_of(recipe) if stage.name in self.needs for table in stage.shaped_by(recipe)]
        asked = (recipe.evaluate.baseline, *recipe.evaluate.candidates, *recipe.evaluate.judges)
        named = [f"engines.{name}" for name in asked if "evaluate" in self.tables and name in recipe.engines]
        return tuple(dict.fromkeys((*self.tables, *named, *needed)))


STAGES = {
    stage.name: stage
    for stage in (
        Stage("generate", ("teacher", "generate"), reads=(("evaluate", "instructions"),)),
        Stage("train", ("train",), needs=("generate",)),
        Stage("evaluate", ("evaluate", "judge"), needs=("train",)),
        Stage("release", (), needs=("train",)),
    )
}


def stages_of(recipe: Recipe) -> list[Stage]:
    """The stages that this recipe's run goes through, in order: nobody pays for data that is not trained on."""
    return [stage for stage in STAGES.values() if stage.name != "generate" or not recipe.train.dataset]
