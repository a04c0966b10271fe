"""`pacos leaderboard audit` names each planted defect and nothing else, and on the real data what is known."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from typer.testing import CliRunner

from pacos.cli.main import app
from pacos.evaluate.leaderboard.findings import LeaderboardFinding
from pacos.evaluate.leaderboard.folder import open_folder
from pacos.evaluate.leaderboard.inspection import inspect_folder
from tests.evaluate.leaderboard_folders import (
    ITEMS,
    MODELS,
    Folder,
    Records,
    instruction,
    preference_of,
    raw_completion,
    write_csv,
    write_folder,
    write_length_control,
    write_table,
)


def found(folder: Folder) -> list[LeaderboardFinding]:
    return inspect_folder(open_folder(folder.path))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return write_folder(tmp_path / "board")


def test_a_sound_folder_has_no_finding(folder: Folder) -> None:
    assert found(folder) == []


def test_the_command_says_so_and_writes_json(folder: Folder, tmp_path: Path) -> None:
    command = ["leaderboard", "audit", str(folder.path), "--json", str(tmp_path / "findings.json")]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.output.splitlines()[-1][:24]) == (0, "leaderboard: no findings")
    assert json.loads((tmp_path / "findings.json").read_text()) == []

    folder.edit("maple", "outputs", lambda records: records[3].update(output=" "))
    result = CliRunner().invoke(app, command)
    assert "1 of 24 outputs are empty" in result.output
    kinds = {each["kind"]: each["models"] for each in json.loads((tmp_path / "findings.json").read_text())}
    # The judge saw what stood there before.
    assert kinds == {"empty-outputs": ["maple"], "judged-text-differs": ["maple"]}


def blank_judged(records: Records) -> None:
    for record in records[:4]:
        record["output_2"] = "an answer of nobody's"


def shift(records: Records) -> None:
    texts = [record["output_2"] for record in records]
    for record, text in zip(records, texts[-1:] + texts[:-1], strict=True):
        record["output_2"] = text


def other_baseline(records: Records) -> None:
    for record in records[:5]:
        record["output_1"] += " (another run)"


def zero_to_one(records: Records) -> None:
    for record in records:
        record["preference"] = round(record["preference"] - 1)
        del record["raw_completion"]


def percent(records: Records) -> None:
    for record in records:
        record["preference"] = 100 * (record["preference"] - 1)
        del record["raw_completion"]


def set_to_null(records: Records) -> None:
    for record in records[:3]:
        record["preference"] = None


@pytest.mark.parametrize(
    ("name", "change", "kinds", "items"),
    [
        ("annotations", blank_judged, ["judged-text-differs"], 4),
        ("annotations", shift, ["misaligned-join"], ITEMS),
        ("annotations", other_baseline, ["baseline-text-differs"], 5),
        ("annotations", set_to_null, ["dropped-rows"], 3),
        ("annotations", lambda records: records[:20], ["dropped-rows"], 4),
        ("annotations", lambda records: records + records[:2], ["item-twice"], 2),
        ("annotations", zero_to_one, ["scale-error"], ITEMS),
        ("annotations", percent, ["scale-error"], ITEMS),
        ("outputs", lambda records: records + records[:2], ["item-twice"], 2),
        ("outputs", lambda records: records[1:], ["another-instruction-set", "dropped-rows"], 1),
    ],
)
def test_a_spoilt_file_is_one_kind_of_finding(
    folder: Folder, name: str, change: Callable[[Records], Any], kinds: list[str], items: int
) -> None:
    folder.edit("maple", name, change)
    if kinds != ["scale-error"]:
        write_table(folder.path)
    findings = [each for each in found(folder) if each.kind != "table-differs"]
    assert ([each.kind for each in findings], {each.models for each in findings}) == (kinds, {("maple",)})
    assert {each.items for each in findings} == {items}


def test_answers_to_another_set_of_instructions(folder: Folder) -> None:
    for name in ("outputs", "annotations"):
        folder.edit("maple", name, lambda records: [r | {"instruction": f"Other: {r['instruction']}"} for r in records])
    findings = found(folder)
    assert {(each.kind, each.models, each.items) for each in findings} == {
        ("another-instruction-set", ("maple",), ITEMS)
    }


def test_a_row_that_holds_another_models_annotations(folder: Folder) -> None:
    theirs = json.loads(folder.file("willow", "annotations").read_text())
    folder.edit("maple", "annotations", lambda _: theirs)
    write_table(folder.path)
    findings = {each.kind: each for each in found(folder)}
    assert findings.keys() == {"judged-text-differs", "duplicated-annotations"}
    assert findings["judged-text-differs"].models == ("maple", "willow")
    assert "the records name willow" in findings["judged-text-differs"].detail
    assert findings["duplicated-annotations"].models == ("maple", "willow")


def test_a_model_that_stands_there_twice(folder: Folder) -> None:
    outputs = {r["instruction"]: r["output"] for r in json.loads(folder.file("larch", "outputs").read_text())}
    folder.edit("willow", "outputs", lambda records: [r | {"output": outputs[r["instruction"]]} for r in records])
    folder.edit("willow", "annotations", lambda records: [r | {"output_2": outputs[r["instruction"]]} for r in records])
    assert [(each.kind, each.models, each.items) for each in found(folder)] == [
        ("duplicated-outputs", ("larch", "willow"), ITEMS)
    ]


def test_models_that_answer_yes_or_no_alike_are_no_copies(folder: Folder) -> None:
    for model in MODELS:
        folder.edit(model, "outputs", lambda records: [r | {"output": "Yes."} for r in records])
        folder.edit(model, "annotations", lambda records: [r | {"output_2": "Yes."} for r in records])
    assert found(folder) == []


def write_fixed_order(folder: Folder, cost: float) -> None:
    """Orders by item alone; models shown first win less by `cost`."""
    for seed, model in enumerate(MODELS):
        rng = random.Random(seed)

        def fix(records: Records, rng: random.Random = rng) -> None:
            for item, record in enumerate(records):
                first = item % 3 == 0
                chance = min(0.98, max(0.02, preference_of(rng) * 0.2 + 0.6 - cost * first))
                record["preference"] = 1 + chance
                record["raw_completion"] = raw_completion(first, chance)

        folder.edit(model, "annotations", fix)
    write_table(folder.path)


def test_a_display_order_that_the_instruction_decides_and_its_size(folder: Folder) -> None:
    write_fixed_order(folder, cost=0.3)
    (finding,) = found(folder)
    assert (finding.kind, finding.items) == ("fixed-display-order", ITEMS)
    assert finding.effect == pytest.approx(-30, abs=5)
    assert finding.standard_error is not None
    assert 0 < finding.standard_error < 4


def test_a_model_that_is_always_shown_first_by_a_column(folder: Folder) -> None:
    for model in MODELS:
        folder.edit(model, "annotations", lambda records: [r | {"is_switched_outputs": True} for r in records])
    (finding,) = found(folder)
    assert (finding.kind, finding.effect) == ("fixed-display-order", None)
    assert "always first" in finding.detail


def test_a_row_on_another_scale(folder: Folder) -> None:
    write_table(folder.path, extra={"maple": {"win_rate": 0.51}})
    assert [(each.kind, each.models) for each in found(folder)] == [("scale-error", ("maple",))]


def test_a_value_on_another_scale_in_a_table_without_annotations(folder: Folder) -> None:
    agreement = {"ash": 67.1, "beech": 0.64, "cedar": 59.9, "elm": 70.2, "fir": 61.0}
    rows = [{"": judge, "Human agreement": value, "Price": 0.4 * value / 60} for judge, value in agreement.items()]
    write_csv(folder.path / "leaderboards" / "evaluators" / "evaluators_leaderboard.csv", rows)
    assert [(each.kind, each.models) for each in found(folder)] == [("scale-error", ("beech",))]


def test_a_row_that_the_annotations_do_not_give(folder: Folder) -> None:
    write_table(folder.path, extra={"willow": {"win_rate": 61.25}})
    (finding,) = found(folder)
    assert (finding.kind, finding.models) == ("table-differs", ("willow",))
    assert "61.25" in finding.detail


def test_length_controlled_rates_joined_by_row_or_from_old_weights(folder: Folder) -> None:
    difficulty = np.random.default_rng(1).normal(size=ITEMS)
    weights = {"larch": (0.5, 1.0, 0.2), "maple": (0.1, 2.0, -0.3), "willow": (0.0, 1.5, 0.1)}
    write_length_control(folder.path, difficulty, weights)
    for model in ("larch", "maple"):
        folder.edit(model, "annotations", lambda records: records[:2] + records[4:])

    def rate(model: str, used: np.ndarray) -> dict[str, float]:
        return {"length_controlled_winrate": 100 * expit(weights[model][1] * used + weights[model][2]).mean()}

    extra = {
        "larch": rate("larch", np.delete(difficulty, [2, 3])),
        "maple": rate("maple", difficulty[: ITEMS - 2]),
        "willow": {"length_controlled_winrate": 12.0},
    }
    write_table(folder.path, extra=extra)
    findings = {each.kind: each for each in found(folder)}
    assert findings.keys() == {"misaligned-join", "old-weights", "dropped-rows"}
    assert findings["misaligned-join"].models == ("maple",)
    assert findings["old-weights"].models == ("willow",)
    assert sorted(findings["dropped-rows"].models) == ["larch", "maple"]


def test_files_that_are_missing_or_broken(folder: Folder) -> None:
    folder.file("larch", "annotations").write_text('[{"instruction": "Tell')
    folder.file("maple", "outputs").unlink()
    folder.edit("willow", "annotations", lambda records: [{"prompt": r["instruction"], "label": 2} for r in records])
    details = [each.detail for each in found(folder) if each.kind == "missing-or-unreadable"]
    whose = ("larch", "is not JSON"), ("willow", "has no instruction"), ("maple", "no outputs of maple")
    assert len(details) == len(whose)
    for detail, (model, what) in zip(details, whose, strict=True):
        assert f"/{model}/" in detail
        assert what in detail


def test_the_published_leaderboards(shared_data: Path) -> None:
    findings = inspect_folder(open_folder(shared_data / "alpaca_eval"))
    by_kind = {kind: [each for each in findings if each.kind == kind] for kind in {each.kind for each in findings}}
    (judged,) = by_kind["judged-text-differs"]
    assert (judged.models, judged.items) == (("falcon-7b-instruct", "falcon-40b-instruct"), 800)
    (copied,) = by_kind["duplicated-annotations"]
    assert (set(copied.models), copied.benchmark) == ({"falcon-7b-instruct", "falcon-40b-instruct"}, 1)
    (misjoined,) = by_kind["misaligned-join"]
    assert sorted(misjoined.models) == [
        "alpaca-7b_concise", "alpaca-7b_verbose", "gpt35_turbo_instruct", "llama-2-70b-chat-hf", "minotaur-13b",
        "phi-2", "platolm-7b", "text_davinci_001",
    ]  # fmt: skip
    (scale,) = by_kind["scale-error"]
    assert scale.models == ("weighted_alpaca_eval_gpt-4o-mini-2024-07-18",)
    assert {each.models for each in by_kind["old-weights"]} == {("NullModel",), ("dbrx-instruct",)}
    effects = {each.benchmark: each for each in by_kind["fixed-display-order"]}
    assert effects[2].effect == pytest.approx(-8.2, abs=0.5)
    assert "45 of 45 models win less" in effects[2].detail
    assert abs(effects[1].effect or 0) < 4
    assert "missing-or-unreadable" not in by_kind
    assert "table-differs" not in by_kind
    assert "another-instruction-set" not in by_kind


def test_instructions_are_told_apart_by_their_input(folder: Folder) -> None:
    def same_instruction(records: Records) -> Records:
        return [r | {"instruction": "Sum up.", "input": instruction(item)} for item, r in enumerate(records)]

    for model in MODELS:
        folder.edit(model, "outputs", same_instruction)
        folder.edit(model, "annotations", same_instruction)
    assert found(folder) == []
