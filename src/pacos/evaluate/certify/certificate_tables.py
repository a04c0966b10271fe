"""What `pacos certify` shows: a table with intervals, and what it comes to in sentences."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from pacos.evaluate.certify.certificate import Certificate
from pacos.evaluate.certify.judge_scores import JudgeScore
from pacos.evaluate.certify.published_judges import PublishedJudge
from pacos.evaluate.leaderboard.printing import console
from pacos.evaluate.tables import estimate

COLUMNS = ("items", "right in both", "accuracy", "consistency", "unparsable votes")


def print_certificate(certificate: Certificate, path: Path) -> None:
    """Prints the numbers, what they miss, and where they lie."""
    parts = {f"LLMBar {name}": each for name, each in certificate.llmbar.items()}
    parts |= {"LLMBar Adversarial, all": certificate.adversarial} if certificate.adversarial else {}
    parts |= {f"against {name}": each for name, each in certificate.attacks.items()}
    parts |= {"people decided": certificate.people} if certificate.people else {}
    table = Table(certificate.judge, box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for name, each in parts.items():
        table.add_row(name, *_cells(each))
    console().print(table)
    if agreed := certificate.people_agreement:
        print(
            f"people: the judge's verdict is the majority's on {estimate(agreed.equal, agreed.equal_interval)} of "
            f"{agreed.pairs:,} pairs, kappa {'-' if agreed.kappa is None else f'{agreed.kappa:.2f}'}; two people agree "
            f"on {estimate(agreed.people_equal, agreed.people_equal_interval)} of {agreed.people_pairs:,}"
        )
    effect = certificate.slot_effect
    print(
        f"first-shown answer wins {estimate(effect.first_shown_win_rate, effect.interval)} of {effect.votes:,} "
        "decisive votes; 50% is fair"
    )
    for line in certificate.unmet:
        print(f"unmet: {line}")
    result = "certified" if certificate.certified else "NOT certified"
    print(f"certify: {certificate.judge} is {result}; {certificate.replies:,} replies, ${certificate.usd:.2f}; {path}")


def print_published(rows: Sequence[PublishedJudge]) -> None:
    """Prints every published judge, and how many are what their replies give."""
    table = Table("subset", "judge", box=None, pad_edge=False)
    for column in (*COLUMNS, "published"):
        table.add_column(column, justify="right")
    for row in rows:
        told = "-" if row.differing is None else f"differs: {', '.join(row.differing)}" if row.differing else "equal"
        table.add_row(row.subset, row.judge, *_cells(row.score), told)
    console().print(table)
    compared = [row for row in rows if row.differing is not None]
    equal = sum(not row.differing for row in compared)
    print(f"certify: {equal} of {len(compared)} published statistics are what the raw replies give")


def _cells(each: JudgeScore) -> tuple[str, ...]:
    return (
        str(each.items),
        str(each.both_right),
        estimate(each.accuracy, each.accuracy_interval),
        estimate(each.consistency, each.consistency_interval),
        str(each.unparsable),
    )
