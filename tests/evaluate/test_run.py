"""The stage through its door, on scripted engines: what it asks, what it counts, what it survives."""

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pacos.cli.main import app
from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.models import MINI, weights_sha256
from pacos.core.prompts import chat_template, render_prompt
from pacos.engines import Failure, Message, open_engine
from pacos.engines.builtin.skills import SKILLS
from pacos.evaluate.report import read
from tests.evaluate.conftest import block, counts
from tests.evaluate.judge_data import write_judge_data
from tests.servers.openai_server import OpenAIServer

SMALL = "evaluate.items_per_skill=2"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def items_file(tmp_path: Path) -> Path:
    """Eight questions; the student's script knows five of them, the base's one."""
    path = tmp_path / "items.json"
    examples = [{"instruction": f"Say number {n}.", "input": "", "output": f"{n}"} for n in range(8)]
    path.write_text(json.dumps(examples))
    return path


def knows(*numbers: int) -> Callable[[str], str]:
    return lambda prompt: next((f" {n}." for n in numbers if f"number {n}." in prompt), "no idea")


def test_wins_losses_and_ties(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any
) -> None:
    scripted = engines(knows(0, 1, 2, 3, 4), knows(4, 5), fair_judge).install(monkeypatch)
    report = evaluate_in(recipe_for(f"evaluate.instructions={items_file}"))
    assert (report.items, report.items_harder) == (8, 0)
    assert report.exact_match == {"base": 0.25, "student": 0.625}
    pairwise = report.pairwise
    assert counts(pairwise) == [4, 1, 3, 0]
    assert pairwise.win_rate == pytest.approx(5.5 / 8)
    assert pairwise.interval[0] < 5.5 / 8 < pairwise.interval[1]
    # Every item in both orders, so the fair judge's winner stands first exactly half of the time.
    assert len(scripted.asked("judge")) == 16
    assert report.slot_effect["builtin:judge"].first_shown_win_rate == 0.5
    assert report.usd == pytest.approx(0.016)
    written = json.loads((trained / "evaluate" / "report.json").read_text())
    assert written["pairwise"]["wins"] == 4
    assert written["exact_match"] == report.exact_match


def test_the_command_that_would_certify_the_judge_does_so_for_every_name_it_has(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("PACOS_DATA", str(trained.parent / "user"))
    warning = "not certified: builtin:judge; this ranking rests on a judge that has not shown that it can judge: "
    scripted = engines(knows(0), knows(1), lambda prompt: "")
    monkeypatch.setattr("pacos.evaluate.answers.open_engine", scripted.open)
    data = write_judge_data(trained.parent / "judges")
    overrides = (f"evaluate.instructions={items_file}", "judge.temperature=0.5")

    def not_certified(*more: str) -> str:
        shutil.rmtree(trained / "evaluate", ignore_errors=True)
        report = evaluate_in(recipe_for(*overrides, *more))
        (why,) = report.uncertified.values()
        assert report.certified == {"builtin:judge": False}
        assert f"{warning}{why}\n" in capsys.readouterr().out
        return why

    named = 'evaluate.judges=["builtin:judge"]'
    told = [not_certified(), not_certified(named)]
    commands = [re.fullmatch("never tested; test it: `pacos (.+)`", each).group(1) for each in told]
    assert commands[1] == "certify builtin:judge --data FOLDER"
    # What a run's folder has beside its stages.
    (trained / "resolved.json").write_text(json.dumps({"judge": {"temperature": 0.5}}))
    (trained / "recipe.toml").write_text("")
    arguments = commands[0].replace("FOLDER", str(data)).split()
    assert CliRunner().invoke(app, arguments).exit_code == 0
    (certificate,) = trained.parent.glob("user/certificates/*/certificate.json")
    for more in ((), (named,), ("judge.temperature=1", "judge.max_tokens=100")):
        assert not_certified(*more).startswith("tested and failed (192 replies; ")
        assert str(certificate) in not_certified(*more)


def test_models_get_alpacas_prompt_greedily(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, fair_judge: Any, monkeypatch: Any
) -> None:
    scripted = engines(knows(), knows(), fair_judge).install(monkeypatch)
    evaluate_in(recipe_for(f"evaluate.instructions={items_file}"))
    for kind in ("student", "base"):
        requests = scripted.asked(kind)
        assert {r.prompt for r in requests} == {render_prompt(f"Say number {n}.") for n in range(8)}
        assert {(r.sampling.temperature, r.sampling.max_tokens) for r in requests} == {(0.0, 32)}
    assert all(engine.closed for _, engine in scripted.opened)


@pytest.mark.parametrize("template", ["a conversation's", "alpaca's"])
def test_a_student_of_conversations_is_asked_by_its_template(
    tmp_path: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, tiny_model: Path, fair_judge: Any,
    monkeypatch: Any, template: str,
) -> None:  # fmt: skip
    path = tmp_path / "items.json"
    path.write_text(json.dumps([{"instruction": "Add.", "input": "1 and 2", "output": "3"}]))
    (trained / "train" / "model").unlink()
    shutil.copytree(tiny_model, trained / "train" / "model")
    own = "{% for m in messages %}{{ m.role + ': ' + m.content + eos_token }}{% endfor %}assistant:"
    (trained / "train" / "model" / "chat_template.jinja").write_text(
        own if template == "a conversation's" else chat_template("<s>")
    )
    scripted = engines(lambda prompt: "3", lambda prompt: "4", fair_judge).install(monkeypatch)
    evaluate_in(recipe_for(f"evaluate.instructions={path}"))
    alpacas = render_prompt("Add.", "1 and 2")
    in_turns = (Message("user", "Add.\n\n1 and 2"),)
    assert [r.prompt for r in scripted.asked("student")] == [in_turns if template == "a conversation's" else alpacas]
    assert [r.prompt for r in scripted.asked("base")] == [alpacas]


def test_a_judge_of_places_decides_nothing(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, monkeypatch: Any
) -> None:
    engines(knows(1), knows(2), lambda prompt: "Verdict: A").install(monkeypatch)
    report = evaluate_in(recipe_for(f"evaluate.instructions={items_file}"))
    assert [*counts(report.pairwise), report.pairwise.conflicts] == [0, 0, 8, 0, 8]
    effect = report.slot_effect["builtin:judge"]
    assert effect.first_shown_win_rate == 1.0
    assert effect.interval[0] < 1.0


def test_an_unclear_reply_is_no_verdict(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any
) -> None:
    def judge(prompt: str) -> str:
        return "I cannot say." if "number 0." in prompt else fair_judge(prompt)

    engines(knows(0, 1), knows(), judge).install(monkeypatch)
    report = evaluate_in(recipe_for(f"evaluate.instructions={items_file}"))
    assert counts(report.pairwise) == [1, 0, 6, 1]
    outcomes = [row["outcome"] for row in rows(trained / "evaluate" / "verdicts.jsonl")]
    assert sorted(outcomes) == ["decided", *["tie"] * 6, "unparsable"]


def test_several_judges_vote_by_majority(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, fair_judge: Any, monkeypatch: Any
) -> None:
    engines(knows(0, 1, 2), knows(3), fair_judge).install(monkeypatch)
    judges = 'evaluate.judges=["builtin:judge", "http:http://127.0.0.1:1/v1", "local:pacos-mini"]'
    report = evaluate_in(recipe_for(f"evaluate.instructions={items_file}", judges))
    assert counts(report.pairwise)[:3] == [3, 1, 4]
    assert len(report.judges) == 3
    assert report.judge_agreement == 1.0


def test_ballots_and_verdicts_are_blind(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any
) -> None:
    scripted = engines(knows(0, 1, 2), knows(3), fair_judge).install(monkeypatch)
    evaluate_in(recipe_for(f"evaluate.instructions={items_file}"))
    with sqlite3.connect(trained / "evaluate" / "ballots.sqlite") as database:
        ballots = database.execute("select * from ballots").fetchall()
        votes = database.execute("select * from votes").fetchall()
        key = database.execute("select answer, model from blind_labels").fetchall()
    shown = json.dumps(ballots) + json.dumps(votes) + (trained / "evaluate" / "verdicts.jsonl").read_text()
    shown += json.dumps([request.prompt[0].content for request in scripted.asked("judge")])
    assert "student" not in shown
    assert "base" not in shown
    assert sorted(model for _, model in key) == ["base"] * 8 + ["student"] * 8
    # Both orders of every pair, and which of them goes out first is not always the same.
    pairs = [(ballot[2], ballot[3]) for ballot in ballots]
    assert {(b, a) for a, b in pairs} == set(pairs)
    models = dict(key)
    first_shown = {}
    for request in scripted.asked("judge"):
        ballot = next(ballot for ballot in ballots if ballot[0] == request.id)
        first_shown.setdefault(ballot[1], models[ballot[2]])
    assert set(first_shown.values()) == {"base", "student"}


@pytest.mark.parametrize("kind", ["student", "base", "judge"])
def test_killed_anywhere_it_goes_on(
    kind: str,
    items_file: Path,
    engines: Any,
    recipe_for: Any,
    evaluate_in: Any,
    trained: Path,
    fair_judge: Any,
    monkeypatch: Any,
) -> None:
    recipe = recipe_for(f"evaluate.instructions={items_file}")
    scripts = {"student": knows(0, 1, 2), "base": knows(3), "judge": fair_judge}
    asked = 0

    def dies(prompt: str) -> Any:
        nonlocal asked
        asked += 1
        return KeyboardInterrupt() if asked == 6 else scripts[kind](prompt)

    killed = engines(**{**scripts, kind: dies}).install(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        evaluate_in(recipe)
    again = engines(**scripts).install(monkeypatch)
    report = evaluate_in(recipe)
    assert counts(report.pairwise)[:3] == [3, 1, 4]
    for role, total in (("student", 8), ("base", 8), ("judge", 16)):
        # The request in flight when it died was asked twice; nothing that was answered was.
        assert len(killed.asked(role)) + len(again.asked(role)) == total + (role == kind)


def test_failed_requests_are_asked_again_and_only_they(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any
) -> None:
    def down(prompt: str) -> Any:
        return Failure("", "server", "status 500") if "number 7." in prompt else fair_judge(prompt)

    recipe = recipe_for(f"evaluate.instructions={items_file}")
    engines(knows(0), knows(), down).install(monkeypatch)
    with pytest.raises(PacosError, match=r"judge: 2 requests failed: status 500") as caught:
        evaluate_in(recipe)
    assert "\n" not in str(caught.value)
    assert not (trained / "evaluate" / "done.json").exists()
    again = engines(knows(0), knows(), fair_judge).install(monkeypatch)
    assert evaluate_in(recipe).pairwise.wins == 1
    assert len(again.asked("judge")) == 2
    assert not again.asked("student")


def test_answers_of_other_weights_are_not_used(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any
) -> None:
    recipe, model = recipe_for(f"evaluate.instructions={items_file}"), trained / "train" / "model"
    engines(knows(0), knows(), lambda prompt: Failure("", "auth", "no key", fatal=True)).install(monkeypatch)
    with pytest.raises(PacosError, match="no key"):
        evaluate_in(recipe)
    other = shutil.copytree(model, trained / "other")
    with open(other / "model.safetensors", "ab") as weights:
        weights.write(b" ")
    model.unlink()
    other.rename(model)
    again = engines(knows(0, 1), knows(), fair_judge).install(monkeypatch)
    assert evaluate_in(recipe).exact_match == {"base": 0.0, "student": 0.25}
    assert (len(again.asked("student")), len(again.asked("base"))) == (8, 0)


def test_votes_on_answers_of_other_weights_are_not_counted(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any
) -> None:
    """The first judge has voted when the second stops the stage; then the student is trained anew."""
    judges = 'evaluate.judges=["builtin:judge", "http:http://127.0.0.1:1/v1"]'
    recipe, model = recipe_for(f"evaluate.instructions={items_file}", judges), trained / "train" / "model"
    asked = 0

    def judge(prompt: str) -> Any:
        nonlocal asked
        asked += 1
        return fair_judge(prompt) if asked <= 16 else Failure("", "auth", "no key", fatal=True)

    engines(knows(0, 1, 2), knows(3), judge).install(monkeypatch)
    with pytest.raises(PacosError, match="no key"):
        evaluate_in(recipe)
    with sqlite3.connect(trained / "evaluate" / "ballots.sqlite") as database:
        assert database.execute("select count(*) from votes").fetchone() == (16,)
    other = shutil.copytree(model, trained / "other")
    with open(other / "model.safetensors", "ab") as weights:
        weights.write(b" ")
    model.unlink()
    other.rename(model)
    engines(knows(0), knows(3), fair_judge).install(monkeypatch)
    report = evaluate_in(recipe)
    assert counts(report.pairwise) == [1, 1, 6, 0]
    assert {name: effect.votes for name, effect in report.slot_effect.items()} == dict.fromkeys(report.judges, 4)
    assert len(rows(trained / "evaluate" / "verdicts.jsonl")) == 16


def test_a_win_in_one_order_and_a_tie_in_the_other_is_a_conflict(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, monkeypatch: Any
) -> None:
    def judge(prompt: str) -> str:
        return "Verdict: A" if block(prompt, "answer_a") == "1." else "Verdict: tie"

    engines(lambda prompt: "1.", lambda prompt: "2.", judge).install(monkeypatch)
    report = evaluate_in(recipe_for(f"evaluate.instructions={items_file}"))
    assert [*counts(report.pairwise), report.pairwise.conflicts] == [0, 0, 8, 0, 8]
    assert {row["outcome"] for row in rows(trained / "evaluate" / "verdicts.jsonl")} == {"conflict"}


def test_no_readable_verdict_gives_no_rate_anywhere(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, monkeypatch: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    engines(knows(0), knows(1), lambda prompt: "I would rather not say.").install(monkeypatch)
    report = evaluate_in(recipe_for(f"evaluate.instructions={items_file}"))
    assert counts(report.pairwise) == [0, 0, 0, 8]
    pair = report.pairwise
    absent = (pair.win_rate, pair.interval, pair.decisive_win_rate, pair.decisive_interval, pair.sign_test_p)
    assert absent == (None,) * 5
    effect = report.slot_effect["builtin:judge"]
    assert (effect.votes, effect.first_shown_win_rate, effect.interval) == (0, None, None)
    told = capsys.readouterr()
    assert "none of 8 items has a readable verdict" in told.err
    assert "50.0%" not in told.out


def test_a_share_names_the_items_it_is_a_share_of(
    tmp_path: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "some.json"
    outputs = ["0", "", "2", "3"]
    path.write_text(json.dumps([{"instruction": f"Say number {n}.", "output": out} for n, out in enumerate(outputs)]))
    engines(knows(0, 1, 2), knows(), fair_judge).install(monkeypatch)
    report = evaluate_in(recipe_for(f"evaluate.instructions={path}"))
    assert (report.items, report.exact_match_items) == (4, 3)
    assert report.exact_match["student"] == pytest.approx(2 / 3)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.strip(" │").startswith("exact match"))
    assert " 3 " in line


def test_a_judge_and_a_candidate_of_the_recipe_have_their_own_tables(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any
) -> None:
    with (
        OpenAIServer(text_of=lambda prompt, seed: fair_judge(prompt)) as judge,
        OpenAIServer(text_of=lambda prompt, seed: knows(0, 1)(prompt)) as rival,
    ):
        tables = [
            *("engines.fair.engine=http", f"engines.fair.base_url={judge.base_url}", "engines.fair.max_usd=0.0001"),
            *("engines.fair.output_usd_per_mtok=10", "engines.fair.max_tokens=100", "engines.fair.temperature=0.5"),
            *("engines.rival.engine=http", f"engines.rival.base_url={rival.base_url}", "engines.rival.max_tokens=77"),
            *('evaluate.judges=["fair"]', 'evaluate.candidates=["rival"]', f"evaluate.instructions={items_file}"),
        ]
        scripted = engines(knows(), knows(3), fair_judge)
        monkeypatch.setattr(
            "pacos.evaluate.answers.open_engine",
            lambda table, **more: (
                scripted.open(table, **more) if table.engine == "local" else open_engine(table, **more)
            ),
        )
        with pytest.raises(PacosError, match=r"engines\.fair\.max_usd is 0\.0001"):
            evaluate_in(recipe_for(*tables))
        assert not judge.bodies
        report = evaluate_in(recipe_for(*tables, "engines.fair.max_usd=1"))
        assert {(body["temperature"], body["max_tokens"]) for body in judge.bodies} == {(0.5, 100)}
        assert {(body["temperature"], body["max_tokens"]) for body in rival.bodies} == {(0.0, 77)}
        assert {body["messages"][0]["content"] for body in rival.bodies} == {f"Say number {n}." for n in range(8)}
    assert (report.judges, report.candidates) == (["fair"], ["rival"])
    assert counts(report.pairwise)[:2] == [2, 1]
    assert report.usd > 0


def test_a_local_engine_of_the_recipe_may_name_a_model_as_the_base_does(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any
) -> None:
    engines(knows(), knows(), fair_judge).install(monkeypatch)
    rival = ("engines.rival.engine=local", "engines.rival.path=pacos-mini", 'evaluate.candidates=["rival"]')
    evaluate_in(recipe_for(*rival, f"evaluate.instructions={items_file}"))
    answers = [json.loads(line) for line in (trained / "evaluate/answers/rival.jsonl").read_text().splitlines()]
    assert {answer["model_sha256"] for answer in answers} == {weights_sha256(MINI)}


def test_a_finished_stage_asks_nothing(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any
) -> None:
    recipe = recipe_for(f"evaluate.instructions={items_file}")
    engines(knows(0), knows(), fair_judge).install(monkeypatch)
    report = evaluate_in(recipe)
    done = json.loads((trained / "evaluate" / "done.json").read_text())
    assert set(done["outputs"]) == {
        "report.json",
        "items.jsonl",
        "answers/base.jsonl",
        "answers/student.jsonl",
        "ballots.sqlite",
        "verdicts.jsonl",
    }
    assert all(sha256_file(trained / "evaluate" / name) == value for name, value in done["outputs"].items())
    again = engines(knows(), knows(), fair_judge).install(monkeypatch)
    with pytest.raises(PacosError, match="is finished"):
        evaluate_in(recipe)
    assert not again.opened
    written = trained / "evaluate" / "report.json"
    written.write_text(json.dumps({key: value for key, value in asdict(report).items() if key != "usd"}))
    with pytest.raises(PacosError, match=r"report\.json: .*not a report of this version"):
        read(trained / "evaluate")


@pytest.mark.parametrize("kept_out", [True, False])
def test_questions_that_were_not_kept_out_of_the_data_are_said(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any,
    capsys: pytest.CaptureFixture[str], kept_out: bool,
) -> None:  # fmt: skip
    (trained / "generate").mkdir(exist_ok=True)
    read = {"elsewhere.json": sha256_file(items_file)} if kept_out else {}
    (trained / "generate" / "done.json").write_text(json.dumps({"inputs": read, "outputs": {}}))
    engines(knows(0), knows(), fair_judge).install(monkeypatch)
    evaluate_in(recipe_for(f"evaluate.instructions={items_file}"))
    assert ("its questions were not kept out" in capsys.readouterr().err) is not kept_out


def test_seconds_add_up_over_processes(
    items_file: Path, engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any
) -> None:
    recipe = recipe_for(f"evaluate.instructions={items_file}")
    engines(knows(0), knows(), lambda prompt: Failure("", "server", "down")).install(monkeypatch)
    with pytest.raises(PacosError):
        evaluate_in(recipe)
    seconds = trained / "evaluate" / "seconds.json"
    first = json.loads(seconds.read_text())
    assert first > 0
    seconds.write_text(json.dumps(first + 1000))
    engines(knows(0), knows(), fair_judge).install(monkeypatch)
    assert evaluate_in(recipe).seconds > first + 1000


def test_builtin_items_end_to_end(
    engines: Any, recipe_for: Any, evaluate_in: Any, trained: Path, fair_judge: Any, monkeypatch: Any, capsys: Any
) -> None:
    """A student that knows the answers to half of the skills: the table by skill says exactly that."""
    known = sorted(SKILLS)[::2]
    answers: dict[str, str] = {}

    def student(prompt: str) -> str:
        if not answers:
            items = rows(trained / "evaluate" / "items.jsonl")
            answers.update(
                {render_prompt(i["instruction"], i["input"]): i["reference"] for i in items if i["skill"] in known}
            )
        return answers.get(prompt, "no idea")

    engines(student, lambda prompt: "no idea", fair_judge).install(monkeypatch)
    report = evaluate_in(recipe_for(SMALL))
    by_skill = {row.skill: row for row in report.per_skill}
    assert set(by_skill) == set(SKILLS)
    assert {skill for skill, row in by_skill.items() if row.exact_match["student"] == 1} == set(known)
    # The terminal shows the ten at which it is weakest.
    lines = [line.split("│") for line in capsys.readouterr().out.splitlines()]
    assert len({cells[1].strip() for cells in lines if len(cells) > 1} & (set(SKILLS) - set(known))) == 10
    assert not {cells[1].strip() for cells in lines if len(cells) > 1} & set(known)
    assert report.items == 2 * len(SKILLS)
    for skill, row in by_skill.items():
        assert row.chance == SKILLS[skill].chance
        if row.chance == 0.5:
            assert row.chance_corrected["base"] == -1
    assert report.pairwise.wins == 2 * len(known)
    harder = report.comparisons["student"].harder
    assert harder.ties + harder.wins == report.items_harder
    assert len(report.examples) == 5
    assert {example["right"] for example in report.examples} == {True, False}
    assert len({example["skill"] for example in report.examples}) == 5
    assert all(
        {"instruction", "input", "base", "student", "reference"} <= example.keys() for example in report.examples
    )
