"""What training leaves in numbers: train/report.json, the report on its data, and the lines of steps.jsonl."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from math import ceil
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json_lines
from pacos.core.records import listed
from pacos.core.reports import read_report

# Told where there are any.
RARELY = ("conversations", "unanswered", "as_text")


def _count(note: str = "", **options: Any) -> Any:
    return field(metadata={"note": note}, **options)


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """Counts of a dataset's records, and of the tokens of the examples that are trained on, told with these notes."""

    records: int = _count()
    heldout: int = _count("never trained on")
    heldout_wholly_masked: int = _count("of these")
    examples: int = _count("trained on")
    truncated: int = _count("longer than train.max_length, {max_length}; these lose their end")
    empty_outputs: int = _count("these teach the end-of-text token alone")
    wholly_masked: int = _count("the prompt fills train.max_length, {max_length}: no label left, left out")
    merged: int = _count("a token spans prompt and answer: the answer's first character is masked")
    tokens: int = _count("an epoch")
    supervised_tokens: int = _count("an epoch")
    longest_tokens: int = _count()
    max_length: int
    histogram: dict[str, int]
    """Examples by their number of tokens, "1-32" and so on."""
    planned_steps: int = _count()
    form: str = ""
    """What the file is, such as "JSON Lines, gzip"."""
    conversations: int = _count("under the base's own chat template", default=0)
    unanswered: int = _count("end with a user turn, which is left out", default=0)
    as_text: int = _count("hold a number or true/false, read as text", default=0)
    unknown_keys: dict[str, int] = field(default_factory=dict)
    """Records by each key that is not read."""
    special_tokens: dict[str, int] = field(default_factory=dict)
    """Records by each of the base's special tokens that stands in their texts."""
    special_tokens_parsed: bool = False

    def lines(self) -> Iterator[str]:
        """The report as an aligned table."""
        noted = {each.name: each.metadata["note"] for each in fields(self) if "note" in each.metadata}
        bars = {name: "█" * ceil(30 * n / max(self.histogram.values())) for name, n in self.histogram.items()}
        for name, note in (noted | bars).items():
            count = (vars(self) | self.histogram)[name]
            if not count and name in RARELY:
                continue
            told = note.format(max_length=self.max_length) if count else ""
            yield f"  {name.replace('_', ' '):<22}{count:>12,}  {told}".rstrip()
        if self.unknown_keys:
            yield f"  keys that are not read: {listed(self.unknown_keys)}"
        if self.special_tokens:
            become = "control ids, as train.parse_special_tokens says" if self.special_tokens_parsed else "text"
            yield f"  special tokens in texts, taken as {become}: {listed(self.special_tokens)}"


@dataclass(frozen=True)
class TrainReport:
    """train/report.json. Losses are token means in nats; `final_loss` is the mean of the last tenth of the
    steps, ten at most."""

    steps: int
    examples: int
    real_tokens: int
    real_tokens_per_second: float
    final_loss: float
    seconds: float
    weights_sha256: str
    base: str
    base_sha256: str
    dataset: str
    counts: DataReport
    heldout_loss_before: float | None
    heldout_loss_after: float | None
    device: str
    processes: int
    precision: str
    optimizer: str
    parameters: int
    trained_parameters: int
    """Fewer than `parameters` where adapters were trained, which `parameters` counts too."""
    peak_memory_bytes: int
    estimated_memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """An optimizer step, a line of train/steps.jsonl. Hugging Face's Trainer does not tell what may be None."""

    step: int
    loss: float
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    real_tokens: int
    computed_tokens: int | None = None
    """Fewer than the real ones where examples share a prefix."""
    labels: int | None = None
    real_tokens_per_second: float
    mfu: float | None = None
    """The share of the peak FLOP/s that the products done take."""
    mfu_unshared: float | None = None
    """The same as if no prefix had been shared."""
    seconds: float

    def told(self) -> dict[str, float]:
        """The values by name, without those that are None."""
        return {name: value for name, value in vars(self).items() if value is not None}


def read(folder: Path) -> TrainReport:
    """The report of a finished train stage; PacosError where `folder` holds none."""
    return read_report(TrainReport, folder)


def read_steps(folder: Path) -> list[Step]:
    """Every step of a train stage so far; PacosError where its log holds something else."""
    path = folder / "steps.jsonl"
    try:
        return [Step(**values) for _, values in read_json_lines(path, "step log", being_written=True)]
    except TypeError as error:
        raise PacosError(f"{path}: not the steps that pacos logged ({error}); remove {folder} to begin anew.") from None
