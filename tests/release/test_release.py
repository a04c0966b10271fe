"""The release folder: whole, checkable with sha256sum, cards with the run's own numbers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from pacos.core.errors import PacosError
from pacos.core.recipe import load
from pacos.core.run_folder import RunFolder
from pacos.release.bits import decode, encode
from pacos.release.rebuild import rebuild
from pacos.release.report import read
from pacos.release.run import run as release

EVALUATED = {
    "items": 480,
    "baseline": "base",
    "candidates": ["student"],
    "judges": ["builtin:judge"],
    "exact_match_items": 480,
    "exact_match_harder_items": 0,
    "exact_match": {"base": 0.0125, "student": 0.7125},
    "exact_match_intervals": {"base": [0.006, 0.027], "student": [0.670, 0.751]},
    "exact_match_harder": {"base": None, "student": None},
    "exact_match_harder_intervals": {"base": None, "student": None},
    "comparisons": {
        "student": {
            "main": {
                "wins": 441,
                "losses": 3,
                "ties": 36,
                "unparsable": 0,
                "conflicts": 5,
                "win_rate": 0.956,
                "interval": [0.93, 0.97],
                "decisive_win_rate": 0.993,
                "decisive_interval": [0.98, 0.998],
                "sign_test_p": 1e-50,
            },
            "harder": None,
        }
    },
}


@given(st.sampled_from([1, 2, 4, 8]), st.data())
def test_any_bits_survive_the_difference(width: int, data: st.DataObject) -> None:
    units = data.draw(st.integers(1, 50))
    student = data.draw(st.binary(min_size=units * width, max_size=units * width))
    base = data.draw(st.binary(min_size=units * width, max_size=units * width))
    base = base[: data.draw(st.integers(0, units)) * width]
    assert decode(encode(student, base, width), base, width, units) == student


@given(st.binary(max_size=60), st.integers(1, 20))
def test_what_is_no_difference_is_refused(packed: bytes, units: int) -> None:
    with pytest.raises(ValueError):
        decode(packed, b"", 4, units)


def test_a_real_model_from_release_to_rebuilt(
    tiny_model: Path, tmp_path: Path, make_release: Callable, folder_hashes: Callable
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "student")
    made = make_release(tiny_model, tmp_path / "student")
    rebuild(made, str(tiny_model), tmp_path / "rebuilt")
    assert folder_hashes(tmp_path / "rebuilt") == folder_hashes(tmp_path / "student") == folder_hashes(made / "model")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "rebuilt", dtype=torch.bfloat16)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_sha256sum_agrees(tiny_model: Path, make_release: Callable, folder_hashes: Callable) -> None:
    made = make_release(tiny_model, tiny_model)
    checked = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=made, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    listed = {line.split("  ", 1)[1] for line in (made / "SHA256SUMS").read_text().splitlines()}
    own = {"SHA256SUMS", "report.json", "done.json", "recipe.json"}
    assert listed == folder_hashes(made).keys() - own
    assert {"model/config.json", "data/dataset.json", "data/dataset.jsonl", "DATASHEET.md", "MODEL_CARD.md"} <= listed


def test_the_card_has_the_runs_numbers(tiny_model: Path, make_release: Callable) -> None:
    card = (make_release(tiny_model, tiny_model, evaluated=EVALUATED) / "MODEL_CARD.md").read_text()
    for number in ("1,200", "0.4321", "71.2% [67.0, 75.1]", "441", "95.6% [93.0, 97.0]", "90 rejected", "28.7%"):
        assert number in card
    assert "harder" not in card  # it was not measured
    assert "ROUGE-L" not in card


def test_the_card_has_rouge_l_where_it_was_measured(tiny_model: Path, make_release: Callable) -> None:
    overlap = {
        **{"items": 252, "means": {"base": 0.0617, "student": 0.2311}, "gains": {"student": 0.1694}},
        "intervals": {"base": [0.054, 0.069], "student": [0.207, 0.256]},
        "gain_intervals": {"student": [0.1467, 0.1918]},
    }
    card = (
        make_release(tiny_model, tiny_model, evaluated=EVALUATED | {"rouge_l": overlap}) / "MODEL_CARD.md"
    ).read_text()
    assert "| ROUGE-L (of 252) | 0.062 [0.054, 0.069] | 0.231 [0.207, 0.256] |" in card
    assert "| ROUGE-L, gain (of 252) |  | 0.169 [0.147, 0.192] |" in card


def measured(base: float, student: float, gain: float, width: float) -> dict[str, object]:
    values = {"base": base, "student": student}
    return {
        "items": 120, "values": values, "intervals": {name: [v - width, v + width] for name, v in values.items()},
        "gains": {"student": gain}, "gain_intervals": {"student": [gain - width, gain + width]},
    }  # fmt: skip


def test_the_card_has_every_measure_with_its_interval(tiny_model: Path, make_release: Callable) -> None:
    taken = {
        "multiple_choice": {
            "file": "builtin", "chance": 0.25, "acc": measured(0.3, 0.45, 0.15, 0.08),
            "acc_norm": measured(0.31, 0.44, 0.13, 0.07), "topic_items": {}, "by_topic": {}, "prompts": {},
            "absent": {},
        },
        "perplexity": [{
            "text": "books/held.txt", "bytes": 9000, "tokens": {"base": 2000, "student": 2000},
            "perplexity": {"base": 30.0, "student": 31.5},
            "perplexity_intervals": {"base": [28.0, 32.0], "student": [29.5, 33.5]},
            "bits_per_byte": measured(1.1, 1.2, 0.1, 0.05), "left_out": 0, "absent": {},
        }],
        "memorisation": [{
            "examples": "trained", "prompt": "instruction", "exact": measured(0.0, 0.125, 0.125, 0.025),
            "longest_run": measured(2.0, 9.0, 7.0, 1.0), "absent": {},
        }],
        "contamination": [{
            "evaluation": "held-out tasks", "items": 480, "training": "data", "examples": 1200, "near": 3,
            "overlap": 2, "given_away": 4, "first": "x",
        }],
    }  # fmt: skip
    card = (make_release(tiny_model, tiny_model, evaluated=EVALUATED | taken) / "MODEL_CARD.md").read_text()
    for line in (
        "| multiple choice, acc (of 120) | 30.0% [22.0, 38.0] | 45.0% [37.0, 53.0] |",
        "| multiple choice, acc, gain (of 120) |  | 15.0% [7.0, 23.0] |",
        "| multiple choice, acc_norm (of 120) | 31.0% [24.0, 38.0] | 44.0% [37.0, 51.0] |",
        "| bits per byte, held.txt (of 120) | 1.100 [1.050, 1.150] | 1.200 [1.150, 1.250] |",
        "| perplexity, held.txt (of 120) | 30.00 [28.00, 32.00] | 31.50 [29.50, 33.50] |",
        "| repeated whole, trained by instruction, gain (of 120) |  | 12.5% [10.0, 15.0] |",
        "guessing scores 25%",
        "give away 4 of 480",
    ):
        assert line in card
    assert "perplexity, held.txt, gain" not in card
    assert "judged by `builtin:judge` (not certified)" in card


def test_without_an_evaluation_the_card_claims_none(tiny_model: Path, make_release: Callable) -> None:
    card = (make_release(tiny_model, tiny_model) / "MODEL_CARD.md").read_text()
    assert "Not evaluated." in card
    assert "exact match" not in card


def test_given_data_is_named_and_not_shipped(tiny_model: Path, tmp_path: Path, make_release: Callable) -> None:
    data = tmp_path / "theirs.json"
    data.write_text("[]")
    made = make_release(tiny_model, tiny_model, f"train.dataset={data}")
    assert not (made / "data").exists()
    assert str(data) in (made / "DATASHEET.md").read_text()


def test_a_finished_release_is_left_alone(tiny_model: Path, tmp_path: Path, make_release: Callable) -> None:
    made = make_release(tiny_model, tiny_model)
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    recipe = load(tmp_path / "tiny.toml", [f"train.base={tiny_model}"])
    with RunFolder(made.parent, recipe) as folder, pytest.raises(PacosError, match="is finished"):
        release(recipe, folder)
    assert before == {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert read(made).files == len((made / "SHA256SUMS").read_text().splitlines())
