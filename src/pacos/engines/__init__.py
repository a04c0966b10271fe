"""Engines: builtin, http and local, opened by one door."""

from pacos.engines.open import engine_table, open_engine, prompt_lengths
from pacos.engines.types import (
    Delta,
    Engine,
    Failure,
    LogitsHook,
    Message,
    Prompt,
    Reply,
    Request,
    RequestFailedError,
    Sampling,
    TokenLogprob,
    Usage,
)

__all__ = [
    "Delta",
    "Engine",
    "Failure",
    "LogitsHook",
    "Message",
    "Prompt",
    "Reply",
    "Request",
    "RequestFailedError",
    "Sampling",
    "TokenLogprob",
    "Usage",
    "engine_table",
    "open_engine",
    "prompt_lengths",
]
