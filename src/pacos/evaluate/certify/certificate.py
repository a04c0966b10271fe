"""A judge's certificate: what it was tested on, how it did, whether that is enough, and where this is kept."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.reports import read_report
from pacos.evaluate.certify.judge_scores import JudgeScore, PeopleAgreement
from pacos.evaluate.certify.judge_tests import NATURAL
from pacos.evaluate.report import SlotEffect
from pacos.judging import Judge

FILE = "certificate.json"
# A judge that is right in a share q of its votes shows 2q - 1 of a true difference: at 0.75 half of it, and as many
# items again and again, four times in all, are needed to see it.
LEAST_ACCURACY = 0.75
# Two orders that disagree are a tie: at 0.75 one item in four is lost so.
LEAST_CONSISTENCY = 0.75
# Where a coin would be right as often, the judge follows what misleads it.
CHANCE = 0.5


@dataclass(frozen=True)
class Certificate:
    """How a judge did. `identity` is a hash of engine, model or weights, prompt and sampling; `data` SHA-256 by file.

    `llmbar` is by subset, `adversarial` all of its adversarial ones together, `attacks` by name; `people` are the pairs
    on which people decided. `unmet` says what keeps it from being certified, "" where nothing does.
    """

    judge: str
    identity: str
    engine: str
    model: str
    prompt: str
    prompt_sha256: str
    sampling: dict[str, float | int]
    made: str
    pacos: str
    data: dict[str, str]
    max_items: int | None
    replies: int
    usd: float
    llmbar: dict[str, JudgeScore]
    adversarial: JudgeScore | None
    attacks: dict[str, JudgeScore]
    people: JudgeScore | None
    people_agreement: PeopleAgreement | None
    slot_effect: SlotEffect
    certified: bool
    unmet: tuple[str, ...]


def unmet_criteria(
    llmbar: dict[str, JudgeScore],
    adversarial: JudgeScore | None,
    attacks: dict[str, JudgeScore],
    people: JudgeScore | None,
) -> tuple[str, ...]:
    """What is missing for a certificate, a sentence each: an interval's lower end has to reach the bound."""
    natural = llmbar.get(NATURAL)
    checks: list[tuple[str, JudgeScore | None, float]] = [
        ("accuracy on LLMBar Natural", natural, LEAST_ACCURACY),
        ("accuracy on LLMBar Adversarial", adversarial, CHANCE),
        *((f"accuracy against {name} answers", each, LEAST_ACCURACY) for name, each in attacks.items()),
        ("accuracy where people decided", people, CHANCE),
    ]
    unmet = [_missed(what, each.accuracy_interval if each else None, bound) for what, each, bound in checks]
    consistency = natural.consistency_interval if natural else None
    unmet.append(_missed("consistency on LLMBar Natural", consistency, LEAST_CONSISTENCY))
    return tuple(filter(None, unmet))


def _missed(what: str, interval: tuple[float, float] | None, bound: float) -> str:
    if interval is None:
        return f"{what}: not measured"
    low, high = interval
    # Chance itself is to be beaten, other bounds to be reached.
    is_met = low > bound if bound == CHANCE else low >= bound
    return "" if is_met else f"{what}: {low:.1%} to {high:.1%}, which does not stay above {bound:.0%}"


def certificate_folder(judge: Judge) -> Path:
    """Where the certificate of this very judge is kept, with the ledger of its replies: below the user's data."""
    user = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(os.environ.get("PACOS_DATA") or user / "pacos") / "certificates" / judge.identity()[:16]


def read_certificate(judge: Judge) -> Certificate | None:
    """The certificate of this very judge, None where it was never tested; PacosError where it cannot be read."""
    folder = certificate_folder(judge)
    if not (folder / FILE).exists():
        return None
    found = read_report(Certificate, folder, FILE, "Test the judge again.")
    if found.identity != judge.identity() or found.certified != (not found.unmet):
        raise PacosError(
            f"{folder / FILE}: edited by hand, or another judge's; expected what `pacos certify` wrote for it. "
            "Test the judge again."
        )
    return found


def why_uncertified(judge: Judge, run: Path) -> str:
    """What keeps a judge of this run from being certified and what to do about it; "" where it is certified."""
    try:
        found = read_certificate(judge)
    except PacosError as error:
        return f"{error} {_command(judge, run)}"
    if found is None:
        return f"never tested; test it: {_command(judge, run)}"
    if found.certified:
        return ""
    return (
        f"tested and failed ({found.replies:,} replies; {found.unmet[0]}); all that is unmet: "
        f"{certificate_folder(judge) / FILE}"
    )


def _command(judge: Judge, run: Path) -> str:
    name = shlex.quote(judge.table_name.removeprefix("engines."))
    # Only what a spec names is the same outside of a run.
    recipe = "" if judge.table_name == judge.name else f" --recipe {shlex.quote(str(run))}"
    return f"`pacos certify {name}{recipe} --data FOLDER`"
