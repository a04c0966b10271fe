"""When an answer counts as the known right one."""

import pytest

from pacos.text.exact import is_exact


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        (" 4  apples.\n", True),
        ("4 apples", True),
        ("4 apples..", False),
        ("4 Apples", False),
        ("4 apples!", False),
        ("", False),
    ],
)
def test_exact_match(answer: str, same: bool) -> None:
    assert is_exact("4 apples", answer) is same
