"""The builtin teacher: right answers, an LLM teacher's format and faults; the judge: blind to order."""

import random
import re
from collections import Counter

import pytest

from pacos.engines import Reply, Request, Sampling, open_engine
from pacos.engines.builtin.skills import SKILLS
from tests.engines.door import complete_all

PROMPT = "List of 20 tasks:\n\n###\n1. Instruction: {n}\n###\n4. Instruction:"


def ask(engine: str, prompts: list[str], max_tokens: int = 3072) -> list[Reply]:
    requests = [Request(str(n), prompt, Sampling(max_tokens)) for n, prompt in enumerate(prompts)]
    answers = complete_all(open_engine(engine), requests)
    return [answer for answer in answers.values() if isinstance(answer, Reply)]


def test_there_are_sixty_skills_with_several_phrasings() -> None:
    assert len(SKILLS) >= 60
    for skill in SKILLS.values():
        assert len(skill.ask) + len(skill.ask_input) >= 4, skill.name


ORACLES = {
    "reverse_words": lambda text: " ".join(text.split()[::-1]),
    "count_words": lambda text: str(len(text.split())),
    "double": lambda text: str(int(text) * 2),
    "even_or_odd": lambda text: ("even", "odd")[int(text) % 2],
    "spell": lambda text: re.sub(r"(?<=.)(?=.)", "-", text),
    "smaller_number": lambda text: min(text.split(" and "), key=int),
    "to_csv": lambda text: ",".join(re.match(r"(\w+) is (\d+) years old and lives in (.+)\.", text).groups()),  # type: ignore[union-attr]
}


@pytest.mark.parametrize("name", ORACLES)
def test_answers_are_right(name: str) -> None:
    rng = random.Random(5)
    tasks = [task for task in (SKILLS[name].sample(rng) for _ in range(200)) if task.input]
    assert len(tasks) > 50
    for task in tasks:
        assert task.output == ORACLES[name](task.input)


def test_two_way_skills_are_balanced() -> None:
    rng = random.Random(6)
    for skill in SKILLS.values():
        if skill.chance == 0.5 and skill.name not in ("article", "larger_number", "smaller_number"):
            answers = Counter(skill.sample(rng).output for _ in range(400))
            assert len(answers) == 2
            assert min(answers.values()) > 140, skill.name


def test_the_teacher_goes_on_with_the_list_and_errs_as_teachers_do() -> None:
    replies = ask("builtin:teacher", [PROMPT.format(n=n) for n in range(100)])
    assert all(reply.text.startswith(" ") for reply in replies)
    assert {reply.finish_reason for reply in replies} == {"stop", "length"}
    blocks = [block for reply in replies for block in reply.text.split("###")]
    assert len(blocks) > 1500
    assert any("Output:" not in block for block in blocks)
    assert any(re.search(r"Output:\s*$", block) for block in blocks)


def test_the_same_prompt_gets_the_same_reply_and_another_seed_another() -> None:
    assert ask("builtin:teacher", [PROMPT])[0].text == ask("builtin:teacher", [PROMPT])[0].text
    other = complete_all(open_engine("builtin:teacher", seed=1), [Request("0", PROMPT, Sampling(3072))])["0"]
    assert isinstance(other, Reply)
    assert other.text != ask("builtin:teacher", [PROMPT])[0].text


def test_a_short_limit_cuts_the_reply() -> None:
    assert ask("builtin:teacher", [PROMPT], max_tokens=30)[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("reference", "a", "b", "verdict"),
    [
        ("Paris", "Paris.", "Rome", "A"),
        ("Paris", "Rome", " Paris ", "B"),
        ("a b c d", "a b c x", "q r s t", "A"),
        ("Paris", "Paris", "Paris", "tie"),
        ("seventeen", "seventy", "four score", "A"),
        ("yes", "no", "not", "tie"),
    ],
)
def test_the_judge_prefers_the_right_answer_in_either_place(reference: str, a: str, b: str, verdict: str) -> None:
    prompt = f"<reference>{reference}</reference><answer_a>{a}</answer_a><answer_b>{b}</answer_b>"
    turned = f"<reference>{reference}</reference><answer_a>{b}</answer_a><answer_b>{a}</answer_b>"
    swapped = {"A": "B", "B": "A", "tie": "tie"}[verdict]
    texts = [reply.text for reply in ask("builtin:judge", [prompt, turned])]
    assert [text.splitlines()[-1] for text in texts] == [f"Verdict: {verdict}", f"Verdict: {swapped}"]
