"""Moderation: looks at a text and says, in one reply shape, whether it may be shown and why not."""

from pacos.guard.backends import moderator
from pacos.guard.blocklist import Blocklist
from pacos.guard.moderation import CATEGORIES, ModerationResult, Moderator

__all__ = ["CATEGORIES", "Blocklist", "ModerationResult", "Moderator", "moderator"]
