"""`pacos leaderboard audit`: all checks of a folder."""

from typing import get_args

from pacos.evaluate.leaderboard.display_order import check_display_order
from pacos.evaluate.leaderboard.findings import Kind, LeaderboardFinding
from pacos.evaluate.leaderboard.folder import LeaderboardFolder
from pacos.evaluate.leaderboard.item_checks import check_items
from pacos.evaluate.leaderboard.number_checks import check_numbers
from pacos.evaluate.leaderboard.text_checks import check_texts


def inspect_folder(folder: LeaderboardFolder) -> list[LeaderboardFinding]:
    """Every finding, by kind."""
    findings = [LeaderboardFinding("missing-or-unreadable", (), line) for line in folder.unread]
    for check in (check_texts, check_items, check_numbers, check_display_order):
        findings += check(folder)
    kinds = get_args(Kind)
    return sorted(findings, key=lambda each: (kinds.index(each.kind), each.benchmark or 0, each.judge, each.models))
