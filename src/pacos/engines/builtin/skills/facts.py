"""Skills that look something up in the world."""

from pacos.engines.builtin import world
from pacos.engines.builtin.skills.skill import fact


def _invert(pairs: dict[str, str]) -> dict[str, str]:
    return {value: key for key, value in pairs.items()}


FACTS = {
    "capital": fact(world.CAPITALS),
    "country_of_capital": fact(_invert(world.CAPITALS)),
    "continent": fact(world.CONTINENTS),
    "language": fact(world.LANGUAGES),
    "currency": fact(world.CURRENCIES),
    "young_animal": fact(world.YOUNG),
    "animal_sound": fact(world.SOUNDS),
    "animal_home": fact(world.ANIMAL_HOMES),
    "animal_group": fact(world.GROUPS),
    "animal_class": fact(world.CLASSES),
    "category": fact(world.CATEGORIES),
    "colour": fact(world.COLOURS),
    "material": fact(world.MATERIALS),
    "workplace": fact(world.WORKPLACES),
    "tool_of_trade": fact(world.TOOLS),
    "define": fact(world.DEFINITIONS),
    "word_for": fact(_invert(world.DEFINITIONS)),
    "chemical_symbol": fact(world.SYMBOLS),
    "shape_sides": fact(world.SHAPES),
    "season": fact(world.SEASONS),
}
