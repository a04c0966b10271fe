"""Questions to begin with are those that this model answered right, and none where that is not known."""

import json
from pathlib import Path

from pacos.serve.first_questions import evaluated_examples


def write_evaluation(folder: Path) -> None:
    (folder / "answers").mkdir(parents=True)
    items, answers = [], []
    for number in range(12):
        item = {"id": str(number), "set": "main", "skill": f"skill_{number % 6}", "instruction": f"Say {number}."}
        items.append(item | {"input": "", "reference": str(number)})
        text = str(number) if number % 2 else "wrong"
        answers.append({"item": str(number), "model_sha256": "ab", "text": text, "finish_reason": "stop"})
    for name, rows in (("items.jsonl", items), ("answers/student.jsonl", answers)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_only_right_answers_of_this_model(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "evaluate")
    found = evaluated_examples(tmp_path / "evaluate", "ab")
    assert [example.question for example in found] == ["Say 1.", "Say 3.", "Say 5."]
    assert found[0].title == "Skill 1"
    assert evaluated_examples(tmp_path / "evaluate", "cd") == []
    assert evaluated_examples(tmp_path / "nowhere", "ab") == []


def test_damaged_evaluation_gives_none(tmp_path: Path) -> None:
    write_evaluation(tmp_path)
    (tmp_path / "items.jsonl").write_text("[1]\n")
    assert evaluated_examples(tmp_path, "ab") == []
