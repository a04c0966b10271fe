"""Items: never trained on, stable, far enough where they claim to be; files in either format."""

import json
from collections import Counter
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer

from pacos.core.errors import PacosError
from pacos.core.records import Example
from pacos.engines.builtin.skills import SKILLS
from pacos.evaluate.items import builtin_items, file_items, read_or_make_items

SEED, PER_SKILL = 42, 4


def test_the_same_seed_gives_the_same_items() -> None:
    first, again = (list(builtin_items([], PER_SKILL, SEED)) for _ in range(2))
    assert first == again
    assert {item.id for item in first}.isdisjoint(item.id for item in builtin_items([], 1, SEED + 1))
    assert len({item.id for item in first}) == len(first)
    assert {item.skill for item in first if item.set == "main"} == set(SKILLS)


def test_no_item_is_trained_on() -> None:
    """Training on the very items that would be drawn pushes every one of them out."""
    would_be = [item for item in builtin_items([], PER_SKILL, SEED) if item.set == "main"]
    training = [Example(item.instruction, item.input, item.reference) for item in would_be]
    items = list(builtin_items(training, PER_SKILL, SEED))
    assert {(e.instruction, e.input) for e in training}.isdisjoint((i.instruction, i.input) for i in items)
    assert len({(item.instruction, item.input) for item in items}) == len(items)


def test_harder_items_are_far_from_every_training_instruction() -> None:
    """Judged by rouge_score itself, not by the novelty check that chose them."""
    drawn = [item for item in builtin_items([], 2, seed=7) if item.set == "main"][::3]
    training = [Example(item.instruction, item.input, item.reference) for item in drawn]
    harder = [item for item in builtin_items(training, PER_SKILL, SEED) if item.set == "harder"]
    assert harder
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    for item in harder[::4]:
        nearest = max(scorer.score(e.instruction, item.instruction)["rougeL"].fmeasure for e in training)
        assert nearest < 0.7


def test_what_was_made_is_read_back(tmp_path: Path) -> None:
    made = read_or_make_items(tmp_path / "items.jsonl", builtin_items([], 1, SEED))
    assert read_or_make_items(tmp_path / "items.jsonl", iter(())) == made


@pytest.mark.parametrize("damage", ['{"id": "1"}', "[]", '"text"', "whole"])
def test_a_damaged_item_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    made = read_or_make_items(path, builtin_items([], 1, SEED))
    damage = json.dumps({**vars(made[0]), "reference": None}) if damage == "whole" else damage
    path.write_text("\n".join([path.read_text().splitlines()[0], damage]))
    with pytest.raises(PacosError, match=r"items\.jsonl:2: not an item"):
        read_or_make_items(path, iter(()))


def test_no_items_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PacosError, match="no item"):
        read_or_make_items(tmp_path / "items.jsonl", iter(()))


def test_self_instructs_user_oriented_set(shared_data: Path) -> None:
    items = list(file_items(shared_data / "self_instruct" / "user_oriented_instructions.jsonl"))
    assert len(items) == 252
    assert sum(bool(item.input) for item in items) == 208
    assert all(item.reference for item in items)
    assert Counter(item.category for item in items).most_common(2) == [("Grammarly", 10), ("merriam-webster.com", 10)]


def test_a_files_categories_stay_with_its_questions(tmp_path: Path) -> None:
    keys = ({"category": " writing "}, {"motivation_app": "Gmail"}, {"dataset": "koala"}, {"category": 7}, {})
    path = tmp_path / "some.json"
    path.write_text(json.dumps([{"instruction": f"Say {n}.", "output": ""} | key for n, key in enumerate(keys)]))
    items = read_or_make_items(tmp_path / "items.jsonl", file_items(path))
    assert [item.category for item in items] == ["writing", "Gmail", "koala", "", ""]
    path.write_text(json.dumps([{"instruction": "Say it.", "output": "", "category": "\ud800"}]))
    with pytest.raises(PacosError, match="record 1 has half a surrogate"):
        file_items(path)


def test_alpacas_format_asks_repeats_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "some.json"
    record = {"instruction": "Say it.", "input": "", "output": "it"}
    path.write_text(json.dumps([record, {**record, "instruction": "Say that."}, record]))
    assert [item.instruction for item in file_items(path)] == ["Say it.", "Say that."]
    assert "1 repeated questions are asked once" in capsys.readouterr().err


def test_two_answers_to_one_question_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    record = {"instruction": "Say it.", "input": "", "output": "it"}
    path.write_text(json.dumps([record, {**record, "output": ""}, {**record, "output": "that"}]))
    with pytest.raises(PacosError, match=r"1 questions .* record 3 .*'it', 'that'"):
        file_items(path)


def test_a_repeat_lends_its_answer_to_a_question_without_one(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    record = {"instruction": "Say it.", "input": "", "output": ""}
    path.write_text(json.dumps([record, {**record, "output": "it"}]))
    assert [item.reference for item in file_items(path)] == ["it"]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    good = json.dumps({"instruction": "Say it.", "instances": [{"input": "", "output": "it"}]})
    path.write_text(good + "\n" + '{"instruction": "Say it.", "instances": [{}]}\n')
    with pytest.raises(PacosError, match=r"some\.jsonl:2: expected"):
        list(file_items(path))
