"""The 175 seed tasks of this project: their schema, their mix, their novelty, and that their code answers run."""

import json
import re
import sqlite3
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
from rapidfuzz.distance import Indel
from rouge_score.tokenize import tokenize

import pacos
from pacos.core.records import SeedTask, read_seed_tasks

SEED_TASKS = Path(pacos.__file__).parent / "generate" / "seed_tasks.jsonl"
# What Alpaca's filter rejects, and the words nearest to it: a text-only teacher cannot do such a task.
NOT_TEXT = re.compile(
    r"\b(images?|graphs?|pictures?|files?|maps?|draw(s|n|ing)?|plots?|go to|videos?|audio|music|flowcharts?"
    r"|diagrams?|photos?|charts?|songs?)\b",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def seeds() -> list[SeedTask]:
    return read_seed_tasks(SEED_TASKS)


def example(seeds: list[SeedTask], name: str) -> tuple[str, str]:
    (task,) = [task for task in seeds if task.name == name]
    return task.examples[0].input, task.examples[0].output


def defined(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(source, names)
    return names


def nearest(instructions: list[str], others: list[str]) -> tuple[float, str, str]:
    """The closest pair by ROUGE-L F: with L tokens in common, 2L / (n + m) is Indel's normalised similarity."""
    tokens = {text: tokenize(text, None) for text in {*instructions, *others}}
    return max((Indel.normalized_similarity(tokens[a], tokens[b]), a, b) for a, b in product(instructions, others))


def test_every_line_has_exactly_self_instructs_keys() -> None:
    rows = [json.loads(line) for line in SEED_TASKS.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == [f"seed_task_{number}" for number in range(175)]
    for row in rows:
        assert set(row) == {"id", "name", "instruction", "instances", "is_classification"}
        assert isinstance(row["is_classification"], bool)
        assert all(set(instance) == {"input", "output"} for instance in row["instances"])


def test_names_and_instructions_are_unique(seeds: list[SeedTask]) -> None:
    assert len({task.name for task in seeds}) == len({task.instruction for task in seeds}) == 175
    assert all(task.name for task in seeds)


def test_the_mix_is_about_a_seventh_classification_and_half_with_input(seeds: list[SeedTask]) -> None:
    assert 25 <= sum(task.is_classification for task in seeds) <= 27
    assert 80 <= sum(bool(task.examples[0].input) for task in seeds) <= 95


def test_lengths_span_one_word_to_a_few_paragraphs(seeds: list[SeedTask]) -> None:
    assert all(4 <= len(task.instruction.split()) <= 60 for task in seeds)
    answers = [len(e.output.split()) for task in seeds for e in task.examples]
    assert min(answers) == 1
    assert 100 < max(answers) <= 250


def test_first_words_are_varied(seeds: list[SeedTask]) -> None:
    first_words = [task.instruction.split()[0].lower() for task in seeds]
    assert len(set(first_words)) >= 60
    assert max(first_words.count(word) for word in set(first_words)) <= 175 // 10


def test_no_task_would_be_rejected_by_alpacas_filters(seeds: list[SeedTask]) -> None:
    for task in seeds:
        assert re.match(r"[A-Za-z]", task.instruction), task.id
        assert not task.instruction.startswith("Write a program"), task.id
        for text in (task.instruction, *(text for e in task.examples for text in (e.input, e.output))):
            assert not NOT_TEXT.search(text), task.id
            # The teacher's prompt separates tasks with ### and writes an empty input as <noinput>.
            assert "###" not in text, task.id
            assert "<no" not in text, task.id
            assert text == text.strip("\n"), task.id


def test_classification_answers_are_among_few_words(seeds: list[SeedTask]) -> None:
    for task in seeds:
        if task.is_classification:
            assert all(e.input and len(e.output.split()) <= 2 for e in task.examples), task.id


def test_same_input_never_has_two_answers(seeds: list[SeedTask]) -> None:
    for task in seeds:
        assert len({e.input for e in task.examples}) == len(task.examples), task.id


def test_no_two_instructions_are_near(seeds: list[SeedTask]) -> None:
    tokens = [(task.id, tokenize(task.instruction, None)) for task in seeds]
    scores = ((Indel.normalized_similarity(a, b), i, j) for (i, a), (j, b) in combinations(tokens, 2))
    assert max(scores)[0] < 0.6


@pytest.mark.parametrize("name", ["seed_tasks.jsonl", "user_oriented_instructions.jsonl"])
def test_none_is_near_self_instructs_tasks(seeds: list[SeedTask], shared_data: Path, name: str) -> None:
    lines = (shared_data / "self_instruct" / name).read_text(encoding="utf-8").splitlines()
    others = [json.loads(line)["instruction"] for line in lines]
    score, ours, theirs = nearest([task.instruction for task in seeds], others)
    assert score < 0.6, (ours, theirs)


def test_none_is_near_alpaca_eval(seeds: list[SeedTask], shared_data: Path) -> None:
    path = shared_data / "alpaca_eval" / "results" / "alpaca-7b" / "model_outputs.json"
    others = [record["instruction"] for record in json.loads(path.read_text(encoding="utf-8"))]
    assert len(others) == 805
    score, ours, theirs = nearest([task.instruction for task in seeds], others)
    assert score < 0.6, (ours, theirs)


def test_refactored_answer_keeps_the_behaviour(seeds: list[SeedTask]) -> None:
    before, after = example(seeds, "guard_clauses")
    orders = [None, *({"items": items, "country": country} for items in (-1, 0, 3) for country in ("NO", "SE"))]
    for order in orders:
        assert defined(after)["shipping"](order) == defined(before)["shipping"](order)


def test_faster_answer_agrees_with_the_slow_one(seeds: list[SeedTask]) -> None:
    slow, answer = example(seeds, "running_time")
    slow_pair = defined(slow)["has_pair"]
    fast_pair = defined(answer[answer.index("def ") :])["has_pair"]
    for numbers in product((-1, 0, 2, 3), repeat=3):
        for target in range(-3, 8):
            assert fast_pair(numbers, target) == slow_pair(numbers, target)


def test_sql_answers_run_and_answer_the_question(seeds: list[SeedTask]) -> None:
    database = sqlite3.connect(":memory:")
    database.executescript(
        """
        CREATE TABLE customers (id, name); CREATE TABLE orders (id, customer_id, ordered_on, amount);
        CREATE TABLE readings (sensor, taken_at, value);
        INSERT INTO customers VALUES (1, 'Ana'), (2, 'Bo'), (3, 'Cy'), (4, 'Di');
        INSERT INTO orders VALUES (1, 1, '2023-01-01', 300), (2, 1, '2023-12-31', 250), (3, 2, '2024-01-01', 900),
            (4, 3, '2023-05-05', 900), (5, 4, '2023-05-05', 500);
        INSERT INTO readings VALUES ('b', '09:00', 1), ('a', '10:00', 2), ('a', '11:00', 3), ('a', '09:30', 4);
        """
    )
    assert database.execute(example(seeds, "sql_big_spenders")[1]).fetchall() == [("Cy", 900), ("Ana", 550)]
    query = example(seeds, "sql_latest_reading")[1].split("\n\n")[0]
    assert database.execute(query).fetchall() == [("a", "11:00", 3), ("b", "09:00", 1)]


def test_regular_expression_answer_accepts_exactly_the_times_of_day(seeds: list[SeedTask]) -> None:
    pattern = re.compile(example(seeds, "regex_iso_time")[1].splitlines()[0])
    accepted = {(h, m) for h, m in product(range(100), repeat=2) if pattern.match(f"{h:02}:{m:02}")}
    assert accepted == set(product(range(24), range(60)))
