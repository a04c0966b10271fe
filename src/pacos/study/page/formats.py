"""How numbers, times and foreign text look on the page."""

import re
from datetime import datetime

MOST_CHARACTERS = 1200
# Beside those, what changes how a text is read and is not seen: marks of direction, widthless and tag characters.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\ufffe\uffff\U000e0000-\U000e007f]"
)
_UNSHOWABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def count(value: float) -> str:
    """1500 -> 1,500."""
    return f"{value:,.0f}"


def counted(value: float, noun: str) -> str:
    """1 -> 1 example, 1500 -> 1,500 examples."""
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def percent(share: float | None, digits: int = 1) -> str:
    """0.684 -> 68.4%; a dash for a share of nothing."""
    if share is None:
        return "–"
    return f"{100 * share:.{digits}f}%".replace("-", "−")


def interval(ends: tuple[float, float] | None) -> str:
    """(0.64, 0.72) -> 64.0–72.0%, which no line break parts; "" where there is nothing to estimate."""
    if ends is None:
        return ""
    return f"{100 * ends[0]:.1f}\u2060–\u2060{100 * ends[1]:.1f}%"


def usd(value: float) -> str:
    """Dollars, with enough digits to tell a small sum from nothing."""
    if value == 0:
        return "$0"
    return f"${value:,.2f}" if value >= 0.1 else f"${value:.2g}"


def duration(seconds: float) -> str:
    """41.2 s, 2 min 41 s or 3 h 05 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60:,} h {minutes % 60:02} min"


def size(num_bytes: float) -> str:
    """Bytes in MB or GB, by thousands."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"


def date(moment: datetime) -> str:
    """22 November 2025, 11:08 UTC."""
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def words(name: str) -> str:
    """A name as code spells it, for reading: first_letters -> first letters."""
    return name.replace("_", " ")


def slug(text: str) -> str:
    """A name fit for an id."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-")


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text, or its beginning, which ends in …, and how much is left out."""
    return text if len(text) <= most else f"{text[:most].rstrip()}… ({len(text) - most:,} more characters)"


def showable(text: str) -> str:
    """Replaces what no page can hold: control characters and halves of surrogate pairs, which JSON may spell."""
    return _UNSHOWABLE.sub("\ufffd", text.replace("\r\n", "\n"))


def uncontrolled(text: str) -> str:
    """Of an attack's text nothing is hidden: what cannot be seen is spelt out, as [U+202E]."""
    return _UNSEEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", text.replace("\r\n", "\n"))
