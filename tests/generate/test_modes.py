"""What sets the modes apart, through the stage's door: pool demonstrations, the user's prompt, contamination."""

import json
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from tests.generate.stage import generate, lines, overrides, process, wait_for_replies
from tests.servers.openai_server import OpenAIServer
from tests.servers.scripted_teacher import teacher_text


def prompts(server: OpenAIServer) -> list[str]:
    return [body["messages"][-1]["content"] for body in server.bodies]


def with_instances(prompt: str, seed: int | None = None) -> str:
    """The scripted teacher's tasks in Self-Instruct's shape: every third classifies, and all have two instances."""
    two = r"\1. Output:\n\2\n\1. Input:\nother \2\n\1. Output:\nnot \2"
    text = re.sub(r"^(\d+)\. Output:\n(.*)$", two, teacher_text(prompt, seed), flags=re.M)

    def classify(match: re.Match[str]) -> str:
        return f"{match[0]}\n{match[1]}. Classification: {'yes' if int(match[1]) % 3 == 0 else 'no'}"

    return re.sub(r"^(?:(\d+)\. Instruction:|(?<!.)) .*$", lambda m: classify(m) if m[1] else m[0], text, flags=re.M)


def test_self_instruct_shows_kept_tasks_and_keeps_instances(recipe_path: Path, tmp_path: Path) -> None:
    with OpenAIServer(text_of=with_instances) as server:
        report = generate(
            recipe_path, tmp_path / "run", overrides(server, generate__mode="self-instruct", generate__num_examples=300)
        )
        asked = prompts(server)
    assert report.kept == 300
    records = lines(tmp_path / "run" / "generate" / "dataset.jsonl")
    per_task = Counter((record["request"], record["index"]) for record in records)
    assert max(per_task.values()) == 2
    assert len({record["instruction"] for record in records}) == len(per_task)
    assert {record["is_classification"] for record in records} == {True, False}
    kept_ids = {record["id"] for record in records}
    late = [record for record in records if record["request"] >= 8]
    assert late
    assert all(len(record["demonstrations"]) == 8 for record in records)
    assert all(len(kept_ids & set(record["demonstrations"])) == 2 for record in late)
    assert all("Classification: yes" in prompt or "Classification: no" in prompt for prompt in asked)


def test_self_instruct_makes_the_same_bytes_at_any_pace_and_after_a_kill(recipe_path: Path, tmp_path: Path) -> None:
    settings = {"generate__mode": "self-instruct", "generate__num_examples": 250}
    with OpenAIServer(text_of=with_instances) as calm:
        generate(recipe_path, tmp_path / "calm", overrides(calm, teacher__concurrency=1, **settings))
    slow = lambda number: 0.25 if number % 3 == 0 else 0.05  # noqa: E731
    with OpenAIServer(text_of=with_instances, latency_seconds=slow) as wild:
        again = overrides(wild, teacher__concurrency=7, **settings)
        with process(recipe_path, tmp_path / "wild", again) as child:
            wait_for_replies(tmp_path / "wild", 5)
            child.send_signal(signal.SIGKILL)
            child.wait()
        generate(recipe_path, tmp_path / "wild", again)
    calm_bytes, wild_bytes = ((tmp_path / run / "generate" / "dataset.json").read_bytes() for run in ("calm", "wild"))
    assert calm_bytes == wild_bytes


def test_conflicting_instances_are_refused(recipe_path: Path, tmp_path: Path) -> None:
    def text_of(prompt: str, seed: int | None) -> str:
        twice = "9. Input:\nsame words\n9. Output:\nyes\n9. Input:\nsame words\n9. Output:\nno\n"
        return f" Say whether the line is true.\n9. Classification: yes\n{twice}###\n10. Instruction:" + teacher_text(
            prompt.replace("9. Instruction:", "10. Instruction:"), seed
        )

    with OpenAIServer(text_of=text_of) as server:
        report = generate(recipe_path, tmp_path / "run", overrides(server, generate__mode="self-instruct"))
    assert report.rejected["conflicting_instances"] == 2 * report.asked // 8
    assert "Say whether the line is true." not in (tmp_path / "run" / "generate" / "dataset.json").read_text()


def test_the_users_prompt_stands_before_the_demonstrations(recipe_path: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("My own words.\n\nList of 20 tasks:")
    with OpenAIServer() as server:
        settings = overrides(server, generate__prompt=mine, generate__mode="alpaca")
        generate(recipe_path, tmp_path / "run", settings)
        assert all(prompt.startswith("My own words.\n\nList of 20 tasks:\n###\n1. ") for prompt in prompts(server))
        assert all(prompt.endswith("###\n4. Instruction:") for prompt in prompts(server))
        done = json.loads((tmp_path / "run" / "generate" / "done.json").read_text())
        assert str(mine) in done["inputs"]
        for text, message in (
            (" \n", "the prompt is empty"),
            ("a\0b", "the prompt holds a NUL"),
            (None, "no such file"),
        ):
            mine.write_text(text) if text else mine.unlink()
            with pytest.raises(PacosError, match=message):
                generate(recipe_path, tmp_path / "other", settings)


def test_inputs_that_change_under_a_stopped_run_are_told(recipe_path: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("Words.\nList of 20 tasks:")
    with OpenAIServer() as server:
        settings = overrides(server, generate__prompt=mine, teacher__max_usd=0.02, teacher__output_usd_per_mtok=5)
        with pytest.raises(PacosError, match="max_usd"):
            generate(recipe_path, tmp_path / "run", settings)
        asked = len(server.bodies)
        mine.write_text("Other words.\nList of 20 tasks:")
        with pytest.raises(PacosError, match=r"mine\.txt: has changed since"):
            generate(recipe_path, tmp_path / "run", settings)
        assert len(server.bodies) == asked > 0


def test_too_few_seed_tasks_for_the_mode_are_told(recipe_path: Path, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    task = {"instruction": "Name a fruit.", "instances": [{"input": "", "output": "Apple"}]}
    seeds.write_text("\n".join([json.dumps(task)] * 5))
    with OpenAIServer() as server:
        settings = overrides(server, generate__seed_tasks=seeds, generate__mode="self-instruct")
        with pytest.raises(PacosError, match=r"holds 5 seed tasks; a prompt of mode 'self-instruct' shows 8"):
            generate(recipe_path, tmp_path / "run", settings)


def test_evaluation_questions_are_dropped_and_listed(recipe_path: Path, tmp_path: Path, shared_data: Path) -> None:
    user_oriented = shared_data / "self_instruct" / "user_oriented_instructions.jsonl"
    record = json.loads(user_oriented.read_text().splitlines()[3])
    leaked, given = record["instruction"], record["instances"][0]["input"]
    own = tmp_path / "own.json"
    question = "Describe how the old lighthouse keeper mends his nets in winter."
    own.write_text(json.dumps([{"instruction": question, "input": "", "output": ""}]))

    def text_of(prompt: str, seed: int | None) -> str:
        return (
            f" {' '.join(leaked.split())}\n4. Input:\n{given}\n4. Output:\nSome answer to it.\n"
            f"###\n5. Instruction: {question}\n5. Input:\n<noinput>\n5. Output:\nPatiently.\n###\n6. Instruction:"
        ) + teacher_text(prompt.replace("4. Instruction:", "6. Instruction:"), seed)

    with OpenAIServer(text_of=text_of) as server:
        keys = {"generate__decontaminate": f'["{user_oriented}"]', "evaluate__instructions": own}
        report = generate(recipe_path, tmp_path / "run", overrides(server, **keys))
    folder = tmp_path / "run" / "generate"
    dropped = [line for line in lines(folder / "rejected.jsonl") if line["rule"] == "contaminated"]
    assert len(dropped) == report.rejected["contaminated"] >= 2 * report.asked // 17 - 1
    assert {line["file"] for line in dropped} == {str(user_oriented), str(own)}
    assert all(line["nearest"] and line["similarity"] > 0.7 for line in dropped)
    kept = (folder / "dataset.json").read_text()
    assert question not in kept
    assert "Some answer to it." not in kept


def as_json(text: str) -> str:
    """The scripted teacher's tasks as a chat teacher may write them: one fenced list."""
    fields = re.split(r"(?:###\n)?\d+\. (?:Instruction: ?|Input:\n|Output:\n)", f"4. Instruction:{text}")[1:]
    keys = ("instruction", "input", "output")
    tasks = [dict(zip(keys, map(str.strip, fields[at : at + 3]), strict=True)) for at in range(0, len(fields), 3)]
    return f"Here they are:\n```json\n{json.dumps(tasks, indent=2)}\n```"


HABITS = {
    "only the instruction numbered": lambda text: re.sub(r"^\d+\. (Input|Output)", r"\1", text, flags=re.M),
    "full-width colons": lambda text: re.sub(r"^(\d+\. \w+):", r"\1：", text, flags=re.M),
    "bold, with headings": lambda text: re.sub(
        r"^(?:###\n)?(\d+)\. (\w+):",
        lambda m: f"### Task {m[1]}\n**{m[2]}:**" if m[2] == "Instruction" else f"**{m[2]}:**",
        f"4. Instruction:{text}",
        flags=re.M,
    ),
    "Chinese": lambda text: (
        f"4. 指令：{text}".replace(". Instruction:", ". 指令：")
        .replace(". Input:", ". 输入：")
        .replace(". Output:", ". 输出：")
    ),
    "JSON": as_json,
    "thinking": lambda text: f"<think>\n4. Instruction: Draft me.\n4. Input:\nx\n4. Output:\ny\n</think>\n{text}",
}


@pytest.mark.parametrize("habit", HABITS.values(), ids=HABITS)
def test_a_teacher_with_habits_of_its_own_makes_the_same_data(
    habit: Callable[[str], str], recipe_path: Path, tmp_path: Path
) -> None:
    with OpenAIServer() as plain, OpenAIServer(text_of=lambda p, seed: habit(teacher_text(p, seed))) as other:
        reports = [generate(recipe_path, tmp_path / s.base_url[-8:-3], overrides(s)) for s in (plain, other)]
        datasets = [tmp_path / s.base_url[-8:-3] / "generate" / "dataset.json" for s in (plain, other)]
    assert datasets[0].read_bytes() == datasets[1].read_bytes()
    assert reports[0].rejected == reports[1].rejected


def test_a_sentence_that_chinese_questions_share_drops_no_example(recipe_path: Path, tmp_path: Path) -> None:
    how, told = (
        "请根据下面的材料回答问题，并说明理由。",
        "港口的主人写道，在傍晚的大雾里，钟声没有响过三次以前，任何船只都不可以离开。",
    )
    topics = ("长江发源于哪个省份", "月亮为什么会有圆缺", "怎样种好一盆薄荷", "古人怎么计算时间", "盐湖是怎么形成的")
    questions = tmp_path / "questions.json"
    questions.write_text(json.dumps([{"instruction": how, "input": told, "output": ""}]))

    def text_of(prompt: str, seed: int | None) -> str:
        own = [f"4. Instruction: {how}\n4. Input:\n{topic}，请写得详细\n4. Output:\n答案在此\n" for topic in topics]
        leak = f"4. Instruction: 请写一段关于港口的话\n4. Input:\n<noinput>\n4. Output:\n老人说：{told}\n"
        tasks = [task.replace("4. ", f"{number}. ") for number, task in enumerate([*own, leak], start=4)]
        rest = teacher_text(prompt.replace("4. Instruction:", "10. Instruction:"), seed)
        return "###\n".join(tasks).removeprefix("4. Instruction:") + "###\n10. Instruction:" + rest

    with OpenAIServer(text_of=text_of) as server:
        generate(recipe_path, tmp_path / "run", overrides(server, generate__decontaminate=f'["{questions}"]'))
    dropped = [
        line for line in lines(tmp_path / "run" / "generate" / "rejected.jsonl") if line["rule"] == "contaminated"
    ]
    assert {line["instruction"] for line in dropped} == {"请写一段关于港口的话"}
