"""Everything the builtin teacher can do: how a case is drawn, and in skills.toml how it is put into words."""

import tomllib
from pathlib import Path

from pacos.engines.builtin.skills.facts import FACTS
from pacos.engines.builtin.skills.lists import LISTS
from pacos.engines.builtin.skills.numbers import NUMBERS
from pacos.engines.builtin.skills.sentences import SENTENCES
from pacos.engines.builtin.skills.skill import Skill, Task
from pacos.engines.builtin.skills.words import WORDS

_DRAWS = FACTS | WORDS | NUMBERS | LISTS | SENTENCES


def _read() -> dict[str, Skill]:
    tables = tomllib.loads((Path(__file__).parent / "skills.toml").read_text(encoding="utf-8"))
    skills = {}
    for name, table in tables.items():
        ask, ask_input, say = (tuple(table.get(key, ())) for key in ("ask", "ask_input", "say"))
        skills[name] = Skill(name, table["group"], _DRAWS[name], ask, ask_input, say, table.get("chance", 0.0))
    return skills


SKILLS: dict[str, Skill] = _read()

__all__ = ["SKILLS", "Skill", "Task"]
