"""Engines: builtin, http and local, opened by one door."""

from pacos.engines.open import complete_all, open_engine
from pacos.engines.types import Delta, Engine, Failure, Message, Reply, Request, Sampling, Usage

__all__ = [
    "Delta",
    "Engine",
    "Failure",
    "Message",
    "Reply",
    "Request",
    "Sampling",
    "Usage",
    "complete_all",
    "open_engine",
]
