"""redteam/whitebox.json: what a local target's own logits told of texts that somebody suspects in it."""

from dataclasses import dataclass
from pathlib import Path

from pacos.core.reports import read_report

WHITEBOX_FILE = "whitebox.json"


@dataclass(frozen=True)
class Found:
    """What one start of the search came to: the instruction after which the text was likeliest.

    `prompt` re-tokenises within the target's own template to `tokens`. `bits` is the text's cost as the beginning of
    the answer, in bits a token. `is_found` says that the target's greedy `answer` to the prompt holds the text. Of
    `candidates` prompts the likelihood was computed, and `gradients` were taken beside them.
    """

    start: int
    is_found: bool
    prompt: str
    tokens: tuple[int, ...]
    bits: float
    answer: str
    candidates: int
    gradients: int


@dataclass(frozen=True)
class Exposure:
    """How likely a text is after a prompt, or by itself where that is empty, beside strings of the same shape.

    `bits` is the cost of one of the text's `tokens` tokens, and `base_bits` the same in the base model; None where none
    was given. `rank` is 1 where no control is as likely (with a base: as much likelier than in the base). `p_value` is
    rank / (controls + 1): exact where the text was drawn as the controls are, and known before the model was searched.
    `exposure` is -log2 of it, in bits, as in Carlini et al. 2019.
    """

    prompt: str
    tokens: int
    bits: float
    base_bits: float | None
    controls: int
    median_control_bits: float
    rank: int
    p_value: float
    exposure: float


@dataclass(frozen=True)
class LookSettings:
    """What shapes a look: the same again goes on with it. `base` is the identity of the model it is held against."""

    identity: str
    base: str
    text: str
    prompts: tuple[str, ...]
    seed: int
    prompt_tokens: int
    max_candidates: int


@dataclass(frozen=True)
class WhiteboxReport:
    """One text in one target, so far; `finds` is of each start that was searched from."""

    target: str
    settings: LookSettings
    exposures: tuple[Exposure, ...] = ()
    finds: tuple[Found, ...] = ()
    seconds: float = 0.0

    @property
    def found(self) -> int:
        """From how many starts the text was brought out."""
        return sum(each.is_found for each in self.finds)


@dataclass(frozen=True)
class WhiteboxReports:
    """All looks into models whose files are in one folder."""

    looks: tuple[WhiteboxReport, ...]


def read_whitebox_reports(folder: Path) -> tuple[WhiteboxReport, ...]:
    """The looks in a `redteam` folder, none where nobody looked; PacosError where the file is not one of them."""
    return read_report(WhiteboxReports, folder, WHITEBOX_FILE).looks if (folder / WHITEBOX_FILE).is_file() else ()
