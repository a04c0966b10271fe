"""The stage with a judge on a real server, opened by the real open_engine; only the models under test are scripted."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from math import log
from pathlib import Path
from typing import Any

import pytest

from pacos.core.errors import PacosError
from pacos.statistics import win_rate
from tests.evaluate.conftest import block, counts
from tests.evaluate.judge_data import RIGHT, write_judge_data
from tests.evaluate.test_certify import asked, knowing, letters
from tests.servers.openai_server import OpenAIServer


@pytest.fixture(autouse=True)
def models(engines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A student that knows the numbers under three, and a base that knows three."""

    def knows(*numbers: int) -> Callable[[str], str]:
        return lambda prompt: next((f"{n}" for n in numbers if f"number {n}." in prompt), "no idea")

    scripted = engines(knows(0, 1, 2), knows(3), lambda prompt: "")
    monkeypatch.setattr("pacos.evaluate.answers.open_engine", scripted.open)


@pytest.fixture
def judged_by(recipe_for: Any, tmp_path: Path) -> Callable[..., Any]:
    """A recipe of eight items whose [judge] table names the server."""
    path = tmp_path / "items.json"
    path.write_text(json.dumps([{"instruction": f"Say number {n}.", "input": "", "output": f"{n}"} for n in range(8)]))

    def make(server: OpenAIServer, **keys: object) -> Any:
        table = {"engine": "http", "base_url": server.base_url, "concurrency": 4, **keys}
        return recipe_for(f"evaluate.instructions={path}", *(f"judge.{key}={value}" for key, value in table.items()))

    return make


@pytest.fixture
def server_judge(fair_judge: Any) -> Callable[[str, int | None], str]:
    return lambda prompt, seed: fair_judge(prompt)


def votes(run: Path) -> list[float]:
    """What each reply to the judge's calls cost."""
    with closing(sqlite3.connect(run / "evaluate" / "ledger.sqlite")) as ledger:
        return [usd for (usd,) in ledger.execute("select usd from replies where role like 'judge %'")]


def test_an_http_judge_counts_wins_in_both_orders(judged_by: Any, evaluate_in: Any, server_judge: Any) -> None:
    with OpenAIServer(text_of=server_judge) as server:
        report = evaluate_in(judged_by(server))
        assert len(server.bodies) == 16
    assert counts(report.pairwise) == [3, 1, 4, 0]
    effect = report.slot_effect["http:judge"]
    assert (effect.votes, effect.first_shown_win_rate) == (8, 0.5)
    # Both orders of each pair agree, which says more than as many votes by chance.
    assert effect.interval == pytest.approx(win_rate(0, 0, 4).interval)


def test_a_refused_key_stops_at_once_and_is_not_shown(
    judged_by: Any, evaluate_in: Any, trained: Path, server_judge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    with OpenAIServer(text_of=server_judge, key="sk-right") as server:
        with pytest.raises(PacosError, match="refuses the key") as caught:
            evaluate_in(judged_by(server))
        assert len(server.bodies) <= 4
        assert "\n" not in str(caught.value)
        assert "sk-wrong" not in str(caught.value)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
        assert evaluate_in(judged_by(server)).pairwise.wins == 3


def test_an_empty_quota_keeps_every_vote_that_arrived(
    judged_by: Any, evaluate_in: Any, trained: Path, server_judge: Any
) -> None:
    empty_at_the_sixth = lambda n: "quota" if n == 5 else None  # noqa: E731
    with OpenAIServer(empty_at_the_sixth, server_judge, latency_seconds=lambda n: 0.0 if n == 5 else 0.3) as server:
        with pytest.raises(PacosError, match="no quota"):
            evaluate_in(judged_by(server))
        assert len(server.bodies) < 16
        assert len(votes(trained)) == len(server.bodies) - 1
        assert evaluate_in(judged_by(server)).pairwise.wins == 3
        assert len(server.bodies) == 17


def test_an_answer_lost_on_the_way_is_asked_for_again_under_a_limit_too(
    judged_by: Any, evaluate_in: Any, server_judge: Any
) -> None:
    prices = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 10, "max_tokens": 100, "max_usd": 1}
    with OpenAIServer(lambda number: "reset" if number == 5 else None, server_judge) as server:
        assert evaluate_in(judged_by(server, **prices)).pairwise.wins == 3
        assert len(server.bodies) == 17


def test_a_judges_money_is_never_overshot_and_a_raised_limit_goes_on(
    judged_by: Any, evaluate_in: Any, trained: Path, server_judge: Any
) -> None:
    prices = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 10, "max_tokens": 100}
    with OpenAIServer(text_of=server_judge) as server:
        with pytest.raises(PacosError, match=r"judge\.max_usd is 0\.004: .* Raise judge\.max_usd"):
            evaluate_in(judged_by(server, max_usd=0.004, **prices))
        assert 0 < len(votes(trained)) == len(server.bodies) < 16
        assert sum(votes(trained)) <= 0.004
        assert evaluate_in(judged_by(server, max_usd=1, **prices)).pairwise.wins == 3
        assert len(server.bodies) == 16


def test_what_lost_answers_may_have_cost_counts_in_every_process(
    judged_by: Any, evaluate_in: Any, server_judge: Any
) -> None:
    """A server that cuts every answer after the first: no number of starts spends more than the limit."""
    prices = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 10, "max_tokens": 100, "concurrency": 1}
    with OpenAIServer(lambda number: "truncated" if number else None, server_judge) as server:
        for _ in range(4):
            with pytest.raises(PacosError, match=r"max_usd is 0\.004"):
                evaluate_in(judged_by(server, max_usd=0.004, **prices))
        # Each request may cost 0.001; the first one's real cost leaves room for three that were cut.
        assert 2 <= len(server.bodies) <= 4


def test_a_ranking_by_an_uncertified_judge_says_so(
    judged_by: Any,
    evaluate_in: Any,
    trained: Path,
    server_judge: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PACOS_DATA", str(tmp_path / "user"))
    data = write_judge_data(tmp_path / "data")
    knows = lambda prompt, seed: (  # noqa: E731
        server_judge(prompt, seed) if "number" in prompt and RIGHT not in prompt else knowing(prompt)
    )
    with OpenAIServer(text_of=knows) as server:
        recipe = judged_by(server, temperature=0, model="m")
        assert evaluate_in(recipe).certified == {"http:m": False}
        assert "not certified: http:m; " in capsys.readouterr().out
        shutil.rmtree(trained / "evaluate")
        assert asked(server, data).exit_code == 0
        assert evaluate_in(recipe).certified == {"http:m": True}
        assert "not certified" not in capsys.readouterr().out
        # A certificate that was edited, or is another judge's, certifies nobody.
        (path,) = (tmp_path / "user").glob("certificates/*/certificate.json")
        made = json.loads(path.read_text())
        for edit in ({"unmet": ["accuracy"]}, {"identity": "0" * 64}):
            path.write_text(json.dumps(made | edit))
            shutil.rmtree(trained / "evaluate")
            assert evaluate_in(recipe).certified == {"http:m": False}
            assert "edited by hand, or another judge's" in capsys.readouterr().out
        path.write_text(json.dumps(made))
        # Another temperature is another judge.
        shutil.rmtree(trained / "evaluate")
        assert evaluate_in(judged_by(server, temperature=1, model="m")).certified == {"http:m": False}


def test_preferences_by_log_probability_weigh_the_win_rate(
    judged_by: Any, evaluate_in: Any, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A judge that leans to the answer shown first: plain votes are conflicts, their weights say how far it leans."""
    with OpenAIServer(text_of=lambda prompt, seed: "A", rewrite=letters(0.6)) as server:
        report = evaluate_in(judged_by(server, prompt="letter"))
    assert counts(report.pairwise) == [0, 0, 8, 0]
    assert report.pairwise.conflicts == 8
    assert report.pairwise.weighted_win_rate == pytest.approx(0.5)
    with closing(sqlite3.connect(trained / "evaluate" / "ballots.sqlite")) as box:
        preferences = {preference for (preference,) in box.execute("select preference from votes")}
    assert [round(preference, 9) for preference in preferences] == [round(0.6 / 0.9, 9)]


def test_a_weight_is_the_answers_whose_letter_has_it(judged_by: Any, evaluate_in: Any) -> None:
    """The student is right three times and the base once; the judge gives the right answer's letter eight ninths."""

    def letter(prompt: str, seed: int | None) -> str:
        right = [f"number {block(prompt, tag)}." in prompt for tag in ("answer_a", "answer_b")]
        return "neither" if right[0] == right[1] else "A" if right[0] else "B"

    def weigh(answer: dict[str, Any]) -> None:
        choice = answer["choices"][0]
        said = choice["message"]["content"]
        shares = {each: 0.8 if each == said else 0.1 if said in ("A", "B") else 0.45 for each in ("A", "B")}
        top = [{"token": token, "logprob": log(share)} for token, share in shares.items()]
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}

    with OpenAIServer(text_of=letter, rewrite=weigh) as server:
        report = evaluate_in(judged_by(server, prompt="letter"))
    assert counts(report.pairwise) == [3, 1, 4, 0]
    assert report.pairwise.weighted_win_rate == pytest.approx((3 * 8 / 9 + 1 / 9 + 4 / 2) / 8)


def test_a_judges_prompt_is_read_before_models_are_asked(judged_by: Any, evaluate_in: Any, trained: Path) -> None:
    with OpenAIServer() as server, pytest.raises(PacosError, match=r"judge\.toml: no such file"):
        evaluate_in(judged_by(server, prompt="./nowhere"))
    assert not (trained / "evaluate" / "ledger.sqlite").exists()
