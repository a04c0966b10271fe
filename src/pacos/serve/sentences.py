"""Holds an answer back until a whole sentence or line is there, so that it can be checked before it is shown."""

import re

# The white space after the full stop must have come: "3." may go on as "3.14".
_BOUNDARY = re.compile(r"[.!?…][)\]\"'”’*_`]*\s+|[。！？]|\n")
MAX_HELD_CHARACTERS = 400


class SentenceBuffer:
    """`add` returns what is ready to be checked and shown, "" while a sentence is open; `rest` is what remains."""

    def __init__(self) -> None:
        self._held = ""

    def add(self, text: str) -> str:
        """Takes the next piece; a run of text without any boundary is let go at its last space, or whole."""
        self._held += text
        end = max((match.end() for match in _BOUNDARY.finditer(self._held)), default=0)
        if not end and len(self._held) >= MAX_HELD_CHARACTERS:
            end = self._held.rfind(" ") + 1 or len(self._held)
        ready, self._held = self._held[:end], self._held[end:]
        return ready

    def rest(self) -> str:
        """What is still held, at the end of the answer."""
        rest, self._held = self._held, ""
        return rest
