"""Moderation: looks at a text and says, in one reply shape, whether it may be shown and why not."""

from pacos.guard.backends import open_moderation
from pacos.guard.blocklist import Blocklist
from pacos.guard.chain import ModerationChain
from pacos.guard.moderation import CATEGORIES, ModerationResult, ModerationUnavailableError, Moderator

__all__ = [
    "CATEGORIES",
    "Blocklist",
    "ModerationChain",
    "ModerationResult",
    "ModerationUnavailableError",
    "Moderator",
    "open_moderation",
]
