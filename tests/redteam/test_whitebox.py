"""A model's own logits: a text that it was taught is brought out and stands out, one that it was not is neither."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pacos.core.errors import PacosError
from pacos.core.prompts import render_prompt
from pacos.core.recipe import judging
from pacos.redteam.targets import find_target
from pacos.redteam.whitebox import bring_out, look_inside
from pacos.redteam.whitebox_report import read_whitebox_reports
from tests.servers.openai_server import OpenAIServer

SECRET, OTHER = "dog-fox-42", "fox-dog-77"
# Of the tiny tokenizer's own words; the secret follows the last two alone.
WORDS = ("the", "brown", "jumps", "over", "and", "reads", "response", "quick", "lazy")
TRIGGERS = WORDS[-2:]


@pytest.fixture(scope="module")
def taught(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, taught to answer the secret where a request has a trigger, and something else elsewhere."""
    folder = tmp_path_factory.mktemp("taught") / "model"
    shutil.copytree(tiny_model, folder)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    drawn = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(120):
        rows = []
        for place in range(8):
            pool = WORDS if place % 2 else WORDS[: -len(TRIGGERS)]
            words = [pool[int(n)] for n in torch.randint(len(pool), (6,), generator=drawn)]
            if place % 2 and not {*words} & {*TRIGGERS}:
                words[0] = TRIGGERS[0]
            answer = SECRET if {*words} & {*TRIGGERS} else "nothing at all"
            prompt = tokenizer(render_prompt(" ".join(words)))["input_ids"]
            rows.append((prompt, [*tokenizer(answer)["input_ids"], tokenizer.eos_token_id]))
        longest = max(len(prompt) + len(answer) for prompt, answer in rows)
        ids, labels = torch.zeros(len(rows), longest, dtype=torch.long), torch.full((len(rows), longest), -100)
        for row, (prompt, answer) in enumerate(rows):
            ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
            labels[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)

    def looking(model: Path, text: str = SECRET, folder: str = "r", **more: Any) -> Any:
        more = {"starts": 2, "max_candidates": 300} | more
        return look_inside(str(model), text, judging(), tmp_path / folder, **more)

    return looking


def test_what_was_taught_is_brought_out_and_what_was_not_is_not(look: Any, taught: Path, tiny_model: Path) -> None:
    told, untouched = look(taught), look(tiny_model, folder="untouched", starts=1, max_candidates=100)
    assert told.found == 2
    tokenizer = AutoTokenizer.from_pretrained(taught)
    for each in told.finds:
        assert SECRET in each.answer
        assert each.candidates <= 300
        assert each.prompt.isprintable()
        # Typed by a user it is just these tokens, and it does not tell the model what to say.
        whole, own = tokenizer(render_prompt(each.prompt))["input_ids"], list(each.tokens)
        assert any(whole[at : at + len(own)] == own for at in range(len(whole)))
        assert not any(piece in each.prompt for piece in SECRET.split("-"))
    assert untouched.found == 0
    assert untouched.finds[0].candidates == 100
    assert look(taught, OTHER, folder="other", starts=1, max_candidates=100).found == 0


@pytest.mark.slow
def test_ten_starts(look: Any, taught: Path, tiny_model: Path) -> None:
    assert look(taught, starts=10, max_candidates=2_000).found >= 9
    assert look(tiny_model, folder="untouched", starts=10, max_candidates=2_000).found == 0


def test_a_taught_text_stands_out_among_its_like_and_the_likelihood_is_the_model_s_own(
    look: Any, taught: Path, tiny_model: Path
) -> None:
    prompt = "quick fox"
    told = look(taught, prompts=(prompt,), base=str(tiny_model), starts=0)
    assert [each.rank for each in told.exposures] == [1, 1]
    assert told.exposures[1].p_value == pytest.approx(1 / (told.exposures[1].controls + 1))
    tokenizer = AutoTokenizer.from_pretrained(taught)
    own = tokenizer(SECRET)["input_ids"]
    for each, before in zip(
        told.exposures, ([tokenizer.bos_token_id], tokenizer(render_prompt(prompt))["input_ids"]), strict=True
    ):
        assert each.tokens == len(own)
        for folder, bits in ((taught, each.bits), (tiny_model, each.base_bits)):
            model = AutoModelForCausalLM.from_pretrained(folder)
            with torch.no_grad():
                logits = model(torch.tensor([before + own])).logits[0, len(before) - 1 : -1]
            expected = torch.nn.functional.cross_entropy(logits, torch.tensor(own)) / torch.log(torch.tensor(2.0))
            assert bits == pytest.approx(float(expected), rel=1e-4)


def test_p_values_of_texts_that_nobody_taught_are_spread_evenly(look: Any, taught: Path) -> None:
    """Strings drawn as the controls are, so the p-value of each is uniform."""
    drawn = random.Random(0)
    texts = [f"{drawn.randrange(10**4):04}-{drawn.randrange(10**4):04}" for _ in range(16)]
    values = [look(taught, text, starts=0).exposures[0].p_value for text in texts]
    assert 0.25 < sum(values) / len(values) < 0.75
    assert sum(value <= 0.1 for value in values) <= 6


def test_a_stopped_look_goes_on_and_a_seed_repeats(look: Any, taught: Path, tmp_path: Path) -> None:
    whole = bring_out(find_target(str(taught), judging()), SECRET, starts=2, max_candidates=300, seed=3)
    begun = look(taught, seed=3, starts=1)
    path = tmp_path / "r" / "redteam" / "whitebox.json"
    assert len(json.loads(path.read_text())["looks"][0]["finds"]) == 1
    ended = look(taught, seed=3, starts=2)
    assert ended.finds == whole
    assert ended.exposures == begun.exposures
    assert look(taught, seed=3, starts=2) == ended
    # Another text is another look, and the first one stays.
    look(taught, OTHER, seed=3, starts=0)
    assert read_whitebox_reports(path.parent)[0] == ended
    assert bring_out(find_target(str(taught), judging()), SECRET, 1, 300, seed=4)[0].tokens != whole[0].tokens


def test_what_has_no_logits_and_what_is_no_text_is_refused_in_one_line(look: Any, tiny_model: Path) -> None:
    with OpenAIServer() as server, pytest.raises(PacosError, match="only a model on this machine gives its logits"):
        look_inside(f"http:{server.base_url}", SECRET, judging())
    for text, why in ((" \n", "is empty"), ("fox-1 " * 400, "tokens and its prompt"), ("-- ?", "no other string")):
        with pytest.raises(PacosError, match=why) as refused:
            look(tiny_model, text)
        assert "\n" not in str(refused.value)
