"""Asking within a budget: one loop for whoever spends, and one account of every reply that was paid for."""

from pacos.asking.budget import Budget, BudgetSpentError
from pacos.asking.ledger import Call, Ledger, StoredReply, Totals, call_key
from pacos.asking.loop import Asking, Source
from pacos.asking.whole_list import ask_all

__all__ = [
    "Asking",
    "Budget",
    "BudgetSpentError",
    "Call",
    "Ledger",
    "Source",
    "StoredReply",
    "Totals",
    "ask_all",
    "call_key",
]
