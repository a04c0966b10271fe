"""When an answer counts as the known right one."""


def is_exact(reference: str, answer: str) -> bool:
    """Equal after stripping, with runs of white space as one space and one final full stop dropped; case counts."""
    return _normalise(reference) == _normalise(answer)


def _normalise(text: str) -> str:
    return " ".join(text.split()).removesuffix(".").rstrip()
