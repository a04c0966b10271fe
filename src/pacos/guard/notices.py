"""What a person is told when something is withheld."""

from pacos.guard.moderation import ModerationResult

HELP = (
    "It sounds as if you may be going through something very hard. You do not have to go through it alone: if you or "
    "somebody else is in danger now, please call your local emergency services, and findahelpline.com lists people in "
    "your country who listen, free of charge, by phone or by chat. This server's content filter did not pass your "
    "message on, because a program is no help in this."
)
UNAVAILABLE = "This server's content filter cannot check texts at the moment, so nothing is shown; try again soon."


def refusal(result: ModerationResult) -> str:
    """Why a person's text was not passed on; where to find help, if it speaks of self-harm."""
    if any(category.startswith("self-harm") for category in result.found):
        return HELP
    return f"This request was refused by this server's content filter (kind: {_kinds(result)})."


def notice(result: ModerationResult) -> str:
    """What stands in an answer in place of what was withheld."""
    return f"[The rest of this answer was withheld by this server's content filter (kind: {_kinds(result)}).]"


def _kinds(result: ModerationResult) -> str:
    return ", ".join(result.found)
