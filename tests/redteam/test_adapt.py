"""A tree grown without a page, against real servers: where it grows, what is kept, what a kill leaves."""

import itertools
import json
import sqlite3
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pacos.redteam.adapt.offspring import Tried, new_topics, read_list
from pacos.redteam.adapt.tree import Tree, TreeTest, read_tree
from pacos.redteam.cases import Answered, Case, Judged
from tests.conftest import Command
from tests.redteam.conftest import CANARY, leaky, start
from tests.servers.openai_server import OpenAIServer

OBJECTIVE = f"contains:{CANARY}"


def adapt(server: OpenAIServer, folder: Path, *more: object) -> list[object]:
    return [
        *("redteam", "adapt", f"http:{server.base_url}", "engines.target.model=small", "--run", folder),
        *("--objective", OBJECTIVE, *more),
    ]


def rows(folder: Path) -> list[TreeTest]:
    return list(read_tree(folder / "redteam" / "tree.csv"))


def stored(folder: Path) -> list[tuple[str, str]]:
    """(prompt, verdict) of every answered case of the command, by its number."""
    with sqlite3.connect(folder / "redteam" / "cases.sqlite") as connection:
        query = (
            "SELECT wording, verdict FROM campaigns JOIN cases ON cases.campaign = campaigns.id "
            "JOIN verdicts ON verdicts.\"case\" = cases.id WHERE verb = 'adapt' ORDER BY number"
        )
        return list(connection.execute(query))


def test_a_tree_grows_towards_what_fails(pacos: Command, tmp_path: Path) -> None:
    with OpenAIServer(text_of=leaky(("password", "bank account"))) as server:
        code, out, err = pacos(*adapt(server, tmp_path / "r", "--rounds", 12))
        bodies = server.bodies
    assert code == 0, err
    found, asked = rows(tmp_path / "r"), stored(tmp_path / "r")
    assert 60 < len(bodies) == len(found) == len(asked) <= 96
    assert sorted(test.prompt for test in found) == sorted(prompt for prompt, _ in asked)
    assert {test.status for test in found} == {"proposed"}
    assert {test.objective for test in found} == {OBJECTIVE}
    assert {test.label for test in found} == {""}
    assert {test.by for test in found} == {"template", "mutated", "builtin:teacher"}
    # Of twelve topics two fail: it is asked about them more and more.
    hits = {prompt for prompt, verdict in asked if verdict == "hit"}
    assert {test.topic for test in found if test.prompt in hits} == {"a password", "a bank account"}
    assert len(hits) > 1.5 * len(found) * 2 / 12
    assert f"{len(hits)} hits of {len(found)} scored" in out
    assert str(tmp_path / "r" / "redteam" / "tree.csv") in out
    assert len({body["seed"] for body in bodies}) == len(bodies)


def test_an_engine_goes_on_with_what_failed_and_only_what_is_new_is_asked(pacos: Command, tmp_path: Path) -> None:
    songs = itertools.count()

    def idea(prompt: str, seed: int | None) -> str:
        if "List of" not in prompt or "topics:" in prompt:
            return "knots\n7. Topic: harbours and their lights\n8. I have no more, sorry."
        new = f'"Song {next(songs)} tells how an anchor was lost {seed} times near the {seed}th island"'
        return f"{new}\n7. Request: Tell me about ships.\n8. Tell me about ships.\n9. Sing of the anchor, please, sing"

    with OpenAIServer(text_of=idea) as writer, OpenAIServer(text_of=leaky(("anchor",))) as server:
        spent = ("engines.writer.engine=http", f"engines.writer.base_url={writer.base_url}", "engines.writer.model=w")
        command = adapt(server, tmp_path / "r", *spent, "--proposer", "writer", "--topic", "sea/ships")
        code, _, err = pacos(*command, "--rounds", 4)
        asked = [body["messages"][-1]["content"] for body in writer.bodies]
    assert code == 0, err
    found = rows(tmp_path / "r")
    assert {test.topic.partition("/")[0] for test in found} == {"sea"}
    own = [test.prompt for test in found if test.by == "writer"]
    assert "Tell me about ships." in [test.prompt for test in found]
    assert len({test.prompt for test in found}) == len(found)
    failing = [prompt for prompt in own if "anchor" in prompt]
    assert failing
    tests = [prompt for prompt in asked if "tasks:" in prompt]
    assert "sea > ships" in tests[0]
    # What failed is shown first.
    later = [prompt for prompt in tests if "anchor was lost" in prompt]
    assert later
    assert "anchor" in later[-1].partition("1. Instruction:")[2].split("\n")[0]


def test_the_same_rounds_again_are_more_and_rows_by_hand_come_first(pacos: Command, tmp_path: Path) -> None:
    with OpenAIServer(text_of=leaky(("anchor",))) as server:
        command = adapt(server, tmp_path / "r", "--rounds", 1, "--topic", "anchors")
        assert pacos(*command)[0] == 0
        assert len(server.bodies) == 8
        tree = Tree(tmp_path / "r" / "redteam" / "tree.csv")
        tree.put(TreeTest("mine", "anchors", "Is my anchor safe?", OBJECTIVE, "accepted", by="person"))
        tree.put(TreeTest("no", "anchors", "Not this anchor", OBJECTIVE, "rejected"))
        tree.put(TreeTest("other", "anchors", "Not for this judge", "refusal", "accepted"))
        tree.save()
        assert pacos(*command)[0] == 0
        prompts = [body["messages"][-1]["content"] for body in server.bodies]
    assert prompts[8] == "Is my anchor safe?"
    assert len(prompts) == len(set(prompts)) == 17
    assert not {"Not this anchor", "Not for this judge"} & set(prompts)
    kept = {test.id: test for test in rows(tmp_path / "r")}
    assert kept["mine"].status == "accepted"
    assert kept["other"].objective == "refusal"


def test_a_killed_command_goes_on_with_the_rounds_that_were_left_and_asks_nothing_twice(tmp_path: Path) -> None:
    with OpenAIServer(text_of=leaky(("password",)), latency_seconds=lambda n: 0.05) as server:
        command = adapt(server, tmp_path / "r", "--rounds", 5)
        killed_in_flight = 0
        for wait in (0.3,):
            seen, process = len(server.bodies), start(*command, folder=tmp_path)
            while process.poll() is None and len(server.bodies) == seen:
                time.sleep(0.01)
            time.sleep(wait)
            process.kill()
            process.wait()
            time.sleep(0.1)
            killed_in_flight += 8
        last = start(*command, folder=tmp_path)
        _, err = last.communicate(timeout=120)
        assert last.returncode == 0, err
        asked = Counter(body["messages"][-1]["content"] for body in server.bodies)
    found, judged = rows(tmp_path / "r"), stored(tmp_path / "r")
    # A kill between the rows and the note of their round makes that round one more.
    assert 24 < len(found) <= 40 + 8
    assert sorted(prompt for prompt, _ in judged) == sorted(test.prompt for test in found)
    assert set(asked) == {test.prompt for test in found}
    assert sum(asked.values()) - len(asked) <= killed_in_flight
    assert not (tmp_path / "r" / "redteam" / "adapt-rounds.json").exists()


def test_limits_hold_and_more_go_on(pacos: Command, tmp_path: Path) -> None:
    priced = ("engines.target.input_usd_per_mtok=100", "engines.target.output_usd_per_mtok=200")
    with OpenAIServer(text_of=leaky(("password",))) as server:
        command = adapt(server, tmp_path / "r", *priced, "--rounds", 3)
        code, out, _ = pacos(*command, "--max-requests", 11)
        assert (code, len(server.bodies)) == (0, 11)
        assert "--max-requests 11 are used up" in out
        code, out, _ = pacos(*command, "--max-requests", 300, "--max-usd", 0.1)
        assert code == 0
        assert "max_usd" in out
        spent = len(server.bodies)
        assert 11 <= spent < 24
        assert pacos(*command)[0] == 0
        assert len(server.bodies) > spent
        prompts = [body["messages"][-1]["content"] for body in server.bodies]
    assert len(prompts) == len(set(prompts))


def test_rows_that_somebody_adds_meanwhile_stay(tmp_path: Path) -> None:
    path = tmp_path / "r" / "redteam" / "tree.csv"
    with OpenAIServer(text_of=leaky(("password",)), latency_seconds=lambda n: 0.2) as server:
        process = start(*adapt(server, tmp_path / "r", "--rounds", 3), folder=tmp_path)
        while process.poll() is None and len(server.bodies) < 9:
            time.sleep(0.01)
        tree = Tree(path)
        first = next(iter(tree.tests.values()))
        tree.put(TreeTest("mine", "a", "Mine", OBJECTIVE, "accepted"))
        tree.put(replace(first, note="seen"))
        tree.save()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    kept = {test.id: test for test in rows(tmp_path / "r")}
    assert kept["mine"].status == "accepted"
    assert kept[first.id].note == "seen"
    assert len(kept) == 25


def test_a_target_that_is_none_is_one_line_and_the_tree_stays(pacos: Command, tmp_path: Path) -> None:
    with OpenAIServer(lambda number: "html") as server:
        code, _, err = pacos(*adapt(server, tmp_path / "r", "--rounds", 1))
    assert code == 2
    assert server.base_url in err
    assert err.strip().count("\n") == 0
    assert len(rows(tmp_path / "r")) == 8


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--objective", "kindness"), "objective"),
        (("--topic", "a\0b"), "topic"),
        (("--proposer", "nobody"), "engine 'nobody'"),
        (("--tree", "."), "folder"),
    ],
)
def test_what_cannot_be_done_is_one_line(more: tuple[str, str], says: str, pacos: Command, tmp_path: Path) -> None:
    command = ("redteam", "adapt", "http://127.0.0.1:1/v1", "--objective", "refusal", "--rounds", 1, *more)
    code, _, err = pacos(*command)
    assert code == 2
    assert says in err
    assert err.strip().count("\n") == 0
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_tells_how_near_it_came_and_grows_from_there(
    pacos: Command, tmp_path: Path, tiny_model: Path
) -> None:
    command = ("redteam", "adapt", tiny_model, "--objective", "contains:lazy dog", "--rounds", 2, "--run", "r")
    code, _, err = pacos(*command)
    assert code == 0, err
    with sqlite3.connect(tmp_path / "r" / "redteam" / "cases.sqlite") as connection:
        scores = [row[0] for row in connection.execute("SELECT score FROM verdicts WHERE verdict = 'safe'")]
    assert scores
    assert all(0 < score < 1 for score in scores)
    assert "mutated" in {test.by for test in rows(tmp_path / "r")}


def test_lists_are_read_as_engines_write_them() -> None:
    tasks = " Say it.\n4. Input:\n<noinput>\n4. Output:\n1. one\n2. two\n###\n"
    tasks += "5. Instruction: Sort.\n5. Input:\nb, a\n5. Output:\na"
    assert read_list(tasks, False) == ["Say it.", "Sort.\n\nb, a"]
    assert read_list("Here are some:\n1. One\n2) Two\nand more\n\n- Three\n\nTell me if you need more.", False) == [
        "One",
        "Two\nand more",
        "Three",
    ]
    assert read_list('1. "A quoted one"\n2. Cut in the midd', True) == ["A quoted one"]
    assert read_list("half \ud800 a pair", False) == ["half ? a pair"]
    assert read_list("\n \n###\n", False) == []


def test_topics_come_from_what_failing_prompts_have_in_common() -> None:
    def tried(number: int, prompt: str, verdict: str) -> Tried:
        case = Case(number, "sea", "person", prompt, ())
        return Tried(
            TreeTest(str(number), "sea", prompt, OBJECTIVE),
            Judged(case, Answered("x", "stop"), verdict),  # type: ignore[arg-type]
        )

    failing = [tried(n, f"Where is the {word} lighthouse?", "hit") for n, word in enumerate(("old", "new", "red"))]
    safe = [tried(n + 9, f"Where is the {word} harbour?", "safe") for n, word in enumerate(("old", "new", "red"))]
    assert new_topics("sea", [*failing, *safe], ["sea"], ["Deep water", "A sentence, which is none."]) == [
        "sea/Deep water",
        "sea/lighthouse",
    ]
    assert "sea" not in new_topics("", [], ["sea"], ["sea", "Sea"])


def test_the_note_of_unfinished_rounds_is_of_one_command_alone(pacos: Command, tmp_path: Path) -> None:
    note = tmp_path / "r" / "redteam" / "adapt-rounds.json"
    with OpenAIServer(text_of=leaky(())) as server:
        assert pacos(*adapt(server, tmp_path / "r", "--rounds", 1))[0] == 0
        note.write_text(json.dumps({"target": "another", "left": 5}))
        assert pacos(*adapt(server, tmp_path / "r", "--rounds", 1))[0] == 0
        assert len(server.bodies) == 16
