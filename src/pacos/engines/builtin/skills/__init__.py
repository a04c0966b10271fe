"""Everything the builtin teacher can do."""

from pacos.engines.builtin.skills.facts import FACTS
from pacos.engines.builtin.skills.lists import LISTS
from pacos.engines.builtin.skills.numbers import NUMBERS
from pacos.engines.builtin.skills.sentences import SENTENCES
from pacos.engines.builtin.skills.skill import Skill, Task
from pacos.engines.builtin.skills.words import WORDS

SKILLS: dict[str, Skill] = {skill.name: skill for skill in (*FACTS, *WORDS, *NUMBERS, *LISTS, *SENTENCES)}

__all__ = ["SKILLS", "Skill", "Task"]
