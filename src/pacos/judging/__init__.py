"""Judging: who judges, what a judge is shown, and how its reply is read; for whoever asks judges."""

from pacos.judging.judge_prompts import JudgeKeys, JudgePrompt, load_prompt, prompt_folder
from pacos.judging.judges import Judge, judge_named, judges_of
from pacos.judging.verdict_reading import PREFERENCE, Choice, ReadVote, read_vote

__all__ = [
    "PREFERENCE",
    "Choice",
    "Judge",
    "JudgeKeys",
    "JudgePrompt",
    "ReadVote",
    "judge_named",
    "judges_of",
    "load_prompt",
    "prompt_folder",
    "read_vote",
]
