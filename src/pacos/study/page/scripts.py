"""What the page's browsers of many rows share: JSON that no text in it can end, and a script allowed by its hash."""

import base64
import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup


@dataclass(frozen=True)
class Select:
    """One select of a filter: its options' values and what is shown of them; `all` is shown for no choice."""

    name: str
    label: str
    all: str
    options: list[tuple[str, str]]


@dataclass(frozen=True)
class Script:
    """`digest` in the page's policy lets it run this script, and no other."""

    text: Markup
    digest: str


def script(name: str) -> Script:
    """A script of the page's templates, with what all of them need before it."""
    folder = files("pacos.study.page").joinpath("templates")
    text = "\n".join(folder.joinpath(each).read_text(encoding="utf-8") for each in ("browse.js", name))
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(Markup(text), f"'sha256-{digest}'")


def block(content: object) -> Markup:
    """JSON that is safe inside a script element: without a "<" no text can end it, or begin a comment in it."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
