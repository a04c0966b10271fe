"""No secret passes: whatever a server says goes through the mask before anything else reads, cuts or keeps it."""

import base64
import html
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote, urlsplit

# Shorter keys are placeholders such as "none", which a reply may well contain.
SHORTEST_SECRET = 8
_ESCAPES: tuple[Callable[[str], str], ...] = (
    lambda text: quote(text, safe=""),
    quote,
    html.escape,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    lambda text: repr(text)[1:-1],
)


class Mask:
    """Takes out the key, and what the address holds of that kind, in every form in which a server sends them back."""

    def __init__(self, key: str, base_url: str) -> None:
        parts = urlsplit(base_url)
        user = parts.netloc.rpartition("@")[0]
        found = {key, user, *user.split(":"), *(pair.partition("=")[2] for pair in parts.query.split("&"))}
        found |= {unquote(text) for text in found}
        found |= {base64.b64encode(text.encode()).decode() for text in (user, unquote(user))}
        found |= {escape(text) for text in set(found) for escape in _ESCAPES}
        # The longest first, so that nothing is left of a form that holds another.
        self._forms = sorted((form for form in found if len(form) >= SHORTEST_SECRET), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._forms)) or "(?!)")

    def text(self, text: str) -> str:
        """The text without secrets."""
        return self._pattern.sub("***", text)

    def json(self, value: Any) -> Any:
        """The JSON value without secrets in its texts and names."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.json(part) for part in value]
        if isinstance(value, dict):
            return {self.text(name): self.json(part) for name, part in value.items()}
        return value

    def cut(self, text: str) -> tuple[str, str]:
        """Of a text that goes on, what can be handed on, masked, and what is held back: a secret may begin there."""
        begun = (n for form in self._forms for n in range(1, len(form)) if text.endswith(form[:n]))
        end = len(text) - max(begun, default=0)
        # Not within a secret that is there already, though its end may begin another.
        end = max([end, *(match.end() for match in self._pattern.finditer(text) if match.start() < end)])
        return self.text(text[:end]), text[end:]
