"""evaluate/report.json: what was measured, part by part."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pacos.core.reports import read_report


@dataclass(frozen=True)
class SkillRow:
    """One skill of the table; `exact_match` and `chance_corrected` are shares by model label."""

    skill: str
    group: str
    items: int
    chance: float
    exact_match: dict[str, float]
    chance_corrected: dict[str, float]


@dataclass(frozen=True)
class Pairwise:
    """A candidate against the baseline; ties count half in `win_rate`, whose 95% interval is Tango's.

    `conflicts` of the ties are items whose two orders disagreed; unparsable items are in none of the other counts.
    The decisive rate leaves ties out; its interval is Wilson's and its p-value the exact sign test's. The weighted rate
    is the mean preference over both orders, by log-probability where the judge is read so. What has nothing
    to be computed from, such as a win rate without a readable verdict, is None.
    """

    wins: int
    losses: int
    ties: int
    unparsable: int
    conflicts: int
    win_rate: float | None
    interval: tuple[float, float] | None
    decisive_win_rate: float | None
    decisive_interval: tuple[float, float] | None
    sign_test_p: float | None
    weighted_win_rate: float | None = None
    weighted_interval: tuple[float, float] | None = None

    @property
    def judged(self) -> int:
        """Pairs with a readable verdict."""
        return self.wins + self.losses + self.ties


@dataclass(frozen=True)
class Comparison:
    """A candidate against the baseline on the main items, and on the harder ones where there are any."""

    main: Pairwise
    harder: Pairwise | None


@dataclass(frozen=True)
class SlotEffect:
    """How often the answer shown first won among the decisive `votes`; 0.5 is no effect.

    The 95% interval knows that the votes on one item, or those of one pair in both orders, belong together.
    """

    votes: int
    first_shown_win_rate: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class RougeL:
    """ROUGE-L, F-measures in [0, 1], by model label: means over the `items` that have a reference answer, word stems
    compared, and of several references the nearest.

    A gain is a candidate's mean less the baseline's. Intervals are 95% ones by the bootstrap over items, of a gain over
    the differences on the same items. `absent` says why a model was not measured.
    """

    items: int
    means: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    gains: dict[str, float]
    gain_intervals: dict[str, tuple[float, float]]
    absent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """One measure of every model on the same `items`, by model label, with 95% intervals.

    A gain is a candidate's value less the baseline's, its interval that of the differences on the same items. A model
    that cannot be measured so is in none of these, and one item alone has no interval.
    """

    items: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    gains: dict[str, float]
    gain_intervals: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class MultipleChoice:
    """Questions with one right choice among several, answered by log-likelihood; `file` is "builtin" or a path.

    `acc` is the share where the right choice has the highest summed log-probability, `acc_norm` where it has the
    highest per character, as lm-eval's measures of these names; `chance` is what guessing scores. `by_topic` has topic
    -> model label -> acc, `topic_items` how many questions a topic has. `prompts` says how each model was asked:
    by its own "chat" template, by the prompt of "alpaca", or by "raw" text, "Question: ... Answer:"; `absent` why a
    model was not measured.
    """

    file: str
    chance: float
    acc: Measurement
    acc_norm: Measurement
    topic_items: dict[str, int]
    by_topic: dict[str, dict[str, float]]
    prompts: dict[str, Literal["chat", "alpaca", "raw"]]
    absent: dict[str, str]


@dataclass(frozen=True)
class Perplexity:
    """How well each model foretells a text; lower is better, and so is a negative gain.

    `text` is "held-out examples", of which the outputs count given their instructions, or a text file's path. Bits per
    byte can be compared between all models, `perplexity` (per token) only between models with one tokenizer; `tokens`
    has how many each model's makes of the text's `bytes`. Its items are examples, or pieces of a file. `left_out` are
    items too long for one of the models, `absent` says why a model was not measured.
    """

    text: str
    bytes: int
    tokens: dict[str, int]
    perplexity: dict[str, float]
    perplexity_intervals: dict[str, tuple[float, float]]
    bits_per_byte: Measurement
    left_out: int
    absent: dict[str, str]


@dataclass(frozen=True)
class Memorisation:
    """How much of known outputs each model repeats word for word when it writes on from a prompt.

    `examples` is "trained" or, as a control that no model was trained on, "held-out"; the baseline is the other
    control. `prompt` is the instruction alone, or with it the first half of the output. `exact` is the share whose
    (rest of the) output is repeated whole, `longest_run` the mean length in words of the longest passage that answer
    and output share. `absent` says why a model was not measured.
    """

    examples: Literal["trained", "held-out"]
    prompt: Literal["instruction", "half output"]
    exact: Measurement
    longest_run: Measurement
    absent: dict[str, str]


@dataclass(frozen=True)
class Contaminated:
    """An evaluation set against a training set: how many of its `items` the training examples give away.

    `near` items are above ROUGE-L 0.7 to a training question, `overlap` ones share a passage of 13 words with a
    training example's texts; `given_away` counts items with either. `first` is one of them, "" where there is none.
    """

    evaluation: str
    items: int
    training: str
    examples: int
    near: int
    overlap: int
    given_away: int
    first: str


@dataclass(frozen=True)
class EvaluateReport:
    """What was measured. `exact_match` and its kin are shares by model label; intervals are 95%.

    Of the `items`, those with a known right answer, `exact_match_items`, are what exact match is a share of.

    `comparisons` has every candidate against the baseline, on the main and on the harder items; `pairwise` is the first
    candidate's on the main items once more, under a key that other programs read. `slot_effect` is by judge, and so is
    `certified`: whether `pacos certify` found that very judge good enough before it judged here; `uncertified` says of
    each other judge why it is not. An example has the texts `skill`, `instruction`, `input` and `reference`, `right`
    (None where no answer is known), and each model's answer under its label.

    `empty_answers` counts, by model label, answers without a word; they count as any other answer does.

    `repeats_references` has, by model label, the share of references of ten words or more that its answers repeat word
    for word, where that is nearly all: they are the same text, and no measure against those references means anything.

    `seconds` adds up all processes that worked on the stage; one that was killed counts up to the last model whose
    answers it finished.
    """

    items: int
    items_harder: int
    baseline: str
    candidates: list[str]
    judges: list[str]
    exact_match_items: int
    exact_match_harder_items: int
    exact_match: dict[str, float | None]
    exact_match_intervals: dict[str, tuple[float, float] | None]
    exact_match_chance_corrected: dict[str, float | None]
    exact_match_harder: dict[str, float | None]
    exact_match_harder_intervals: dict[str, tuple[float, float] | None]
    per_skill: list[SkillRow]
    per_skill_harder: list[SkillRow]
    pairwise: Pairwise
    comparisons: dict[str, Comparison]
    slot_effect: dict[str, SlotEffect]
    judge_agreement: float | None
    examples: list[dict[str, str | bool | None]]
    usd: float
    seconds: float
    rouge_l: RougeL | None = None
    certified: dict[str, bool] = field(default_factory=dict)
    uncertified: dict[str, str] = field(default_factory=dict)
    empty_answers: dict[str, int] = field(default_factory=dict)
    multiple_choice: MultipleChoice | None = None
    perplexity: list[Perplexity] = field(default_factory=list)
    memorisation: list[Memorisation] = field(default_factory=list)
    contamination: list[Contaminated] = field(default_factory=list)
    repeats_references: dict[str, float] = field(default_factory=dict)

    def measurements(self) -> Iterator[tuple[str, Measurement, str]]:
        """Each measure without a judge but exact match: a table row's name, the numbers, and their format.

        The lengths of what was repeated are left to who reads the report.
        """
        if self.rouge_l:
            of = self.rouge_l
            yield "ROUGE-L", Measurement(of.items, of.means, of.intervals, of.gains, of.gain_intervals), ".3f"
        if self.multiple_choice:
            yield "multiple choice, acc", self.multiple_choice.acc, ".1%"
            yield "multiple choice, acc_norm", self.multiple_choice.acc_norm, ".1%"
        for text in self.perplexity:
            source = Path(text.text).name
            per_token = Measurement(text.bits_per_byte.items, text.perplexity, text.perplexity_intervals, {}, {})
            yield f"bits per byte, {source}", text.bits_per_byte, ".3f"
            yield f"perplexity, {source}", per_token, ".2f"
        for each in self.memorisation:
            yield f"repeated whole, {each.examples} by {each.prompt}", each.exact, ".1%"


def read(folder: Path) -> EvaluateReport:
    """The report in a finished evaluate/; PacosError where it is none."""
    return read_report(EvaluateReport, folder)
