"""Judging: who judges, what a judge is shown, and how its reply is read; for whoever asks judges."""

from pacos.judging.comparison import Choice, comparison_prompt, read_choice
from pacos.judging.judges import Judge, judges_of

__all__ = ["Choice", "Judge", "comparison_prompt", "judges_of", "read_choice"]
