"""Seals: how the page's own answers are told from texts that somebody only says the model wrote."""

import hmac
import json
from collections.abc import Sequence
from secrets import token_bytes

from pacos.engines import Message
from pacos.serve.model import ServedModel


class Seals:
    """A seal goes out with each answer and comes back when it is to be gone on with, shared or kept with a vote.

    Nothing is stored. The key is of this process: after a restart older answers are only texts.
    """

    def __init__(self) -> None:
        self._key = token_bytes(32)

    def seal(self, model: ServedModel, conversation: Sequence[Message], answer: str) -> str:
        """The seal of this model's answer, or of its beginning, to what of the conversation it was shown."""
        shown = [[message.role, message.content] for message in shown_to(model, conversation)]
        return hmac.digest(self._key, json.dumps([model.sha256, shown, answer]).encode(), "sha256").hex()

    def holds(self, seal: str, model: ServedModel, conversation: Sequence[Message], answer: str) -> bool:
        """Whether the model wrote this here."""
        return hmac.compare_digest(seal.encode(), self.seal(model, conversation, answer).encode())


def shown_to(model: ServedModel, conversation: Sequence[Message]) -> tuple[Message, ...]:
    """What the page gives a model of a conversation that ends with a question: a student never saw a second turn."""
    return tuple(conversation if model.takes_conversation else conversation[-1:])
