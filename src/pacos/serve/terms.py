"""The terms of use: one Markdown text, whose version is its own hash."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import read_text
from pacos.web.markdown import render_markdown

OWN_TERMS = Path(__file__).parent / "terms.md"


@dataclass(frozen=True)
class Terms:
    """`version` changes with every change of the text, so nobody has to remember to count it up."""

    text: str
    version: str
    html: str


def load_terms(path: str) -> Terms:
    """Reads the user's file, or the terms that come with pacos where `path` is empty; PacosError where it is blank."""
    file = Path(path) if path else OWN_TERMS
    text = read_text(file, "terms of use").strip()
    if not text:
        raise PacosError(f"{file}: the terms of use are empty; expected Markdown text, or serve.terms unset.")
    return Terms(text, sha256(text.encode()).hexdigest()[:12], render_markdown(text))
