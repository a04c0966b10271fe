"""A certificate is of one very judge: whatever shapes its votes makes it another, and where it stands does not."""

from pathlib import Path

import pytest

from pacos.core.recipe import judging
from pacos.judging import judge_named


def identity(*keys: str) -> str:
    return judge_named("judge", judging(keys)).identity()


@pytest.mark.parametrize(
    "key", ["weights=int8", "temperature=0.5", "top_p=0.5", "max_tokens=7", "prompt=letter", "api=completions"]
)
def test_what_shapes_a_vote_makes_another_judge(tiny_model: Path, key: str) -> None:
    own = ("judge.engine=local", f"judge.path={tiny_model}")
    assert identity(*own) == identity(*own) != identity(*own, f"judge.{key}")


def test_a_server_that_moves_is_the_same_judge() -> None:
    first, moved = (
        identity("judge.engine=http", "judge.model=m", f"judge.base_url=http://127.0.0.1:{port}/v1") for port in (1, 2)
    )
    assert first == moved != identity("judge.engine=http", "judge.model=n", "judge.base_url=http://127.0.0.1:1/v1")
