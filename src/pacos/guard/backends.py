"""The door to every moderation backend."""

from functools import cache

from pacos.core.errors import PacosError
from pacos.guard.blocklist import Blocklist
from pacos.guard.moderation import ModerationResult, Moderator


class Off:
    """Flags nothing: for a server whose operator chose to have no moderation."""

    def check(self, text: str) -> ModerationResult:
        """A result without a flag."""
        return ModerationResult.of({})


@cache
def moderator(name: str) -> Moderator:
    """The backend a recipe's `serve.moderation` names: "blocklist" or "off"; PacosError for any other."""
    if name == "blocklist":
        return Blocklist()
    if name == "off":
        return Off()
    raise PacosError(f"moderation {name!r}: expected blocklist or off.")
