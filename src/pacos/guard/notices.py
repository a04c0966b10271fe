"""What a person is told when something is withheld."""

from pacos.guard.moderation import ModerationResult

CONTACTS = (
    "If you or somebody else is in danger now, please call your local emergency services. findahelpline.com lists "
    "people in your country who listen, free of charge, by phone or by chat."
)
HELP = (
    "It sounds as if you may be going through something very hard, and you do not have to go through it alone. "
    f"{CONTACTS} This server's content filter did not pass your message on, because a program is no help in this."
)
UNAVAILABLE = "This server's content filter cannot check texts at the moment, so nothing is shown; try again soon."


def refusal(result: ModerationResult) -> str:
    """Why a person's text was not passed on; where to find help, if it speaks of self-harm."""
    of_self_harm = [category for category in result.found if category.startswith("self-harm")]
    if "self-harm/intent" in of_self_harm or (of_self_harm and of_self_harm == result.found):
        return HELP
    line = f"This request was refused by this server's content filter (kind: {_kinds(result)})."
    return f"{line} {CONTACTS}" if of_self_harm else line


def notice(result: ModerationResult) -> str:
    """What stands in an answer in place of what was withheld."""
    return f"[The rest of this answer was withheld by this server's content filter (kind: {_kinds(result)}).]"


def _kinds(result: ModerationResult) -> str:
    return ", ".join(result.found)
