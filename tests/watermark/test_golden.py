"""Every published green list, membership, score and bias in the golden file, reproduced."""

import hashlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pacos.watermark import Watermark

NUM_GOLDEN = {"green_list": 2880, "selfhash_membership": 960, "detect": 384, "logits": 60}


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> dict[str, list[dict[str, Any]]]:
    records: dict[str, list[dict[str, Any]]] = {kind: [] for kind in NUM_GOLDEN}
    for line in (shared_data / "watermark" / "kgw_golden.jsonl").read_text().splitlines():
        record = json.loads(line)
        records[record["kind"]].append(record)
    assert {kind: len(lines) for kind, lines in records.items()} == NUM_GOLDEN
    return records


@cache
def watermark(scheme: str, vocab_size: int, gamma: float, delta: float = 2.0) -> Watermark:
    return Watermark(scheme, vocab_size, gamma, delta)


def of(record: dict[str, Any]) -> Watermark:
    return watermark(record["scheme"], record["vocab_size"], record["gamma"], record.get("delta", 2.0))


NUMERALS = np.array([f"{number}," for number in range(128_256)], dtype="S7").view(np.uint8).reshape(-1, 7)


def digest(ids: list[int]) -> str:
    """SHA-256 of the sorted ids joined by commas; by array, since the file asks for fifty million numerals."""
    present = np.zeros(len(NUMERALS), dtype=bool)
    present[ids] = True
    padded = NUMERALS[present].ravel()
    return hashlib.sha256(padded[padded != 0][:-1].tobytes()).hexdigest()


def test_green_lists(golden: dict[str, list[dict[str, Any]]]) -> None:
    for record in golden["green_list"]:
        ids = of(record).green_ids(record["context"])
        assert (len(ids), ids[:8], digest(ids)) == (record["size"], record["first"], record["sha256_sorted"]), record


def test_membership_agrees_with_every_green_list(golden: dict[str, list[dict[str, Any]]]) -> None:
    for record in golden["green_list"][::5]:
        marks = [of(record).is_green(record["context"], candidate) for candidate in record["first"]]
        assert all(marks), record


@pytest.mark.parametrize("is_prepared", [False, True], ids=["by arrays", "compiled"])
def test_selfhash_membership(golden: dict[str, list[dict[str, Any]]], is_prepared: bool) -> None:
    watermark.cache_clear()
    for record in golden["selfhash_membership"]:
        if is_prepared:
            of(record).prepare()
        marks = [of(record).is_green(record["context"], candidate) for candidate in record["candidates"]]
        assert marks == record["green"], record


def test_detection(golden: dict[str, list[dict[str, Any]]]) -> None:
    for record in golden["detect"]:
        found = of(record).detect(record["tokens"], ignore_repeated_ngrams=record["ignore_repeated_ngrams"])
        counts = (found.num_tokens_scored, found.num_green_tokens, found.green_token_mask)
        assert counts == (record["num_tokens_scored"], record["num_green_tokens"], record["green_token_mask"]), record
        assert found.z_score == record["z_score"]
        assert found.p_value == record["p_value"]


def test_logits_one_row_and_batched(golden: dict[str, list[dict[str, Any]]]) -> None:
    for scheme in ("simple_1", "selfhash"):
        records = [record for record in golden["logits"] if record["scheme"] == scheme]
        scores = [
            torch.randn(1, r["vocab_size"], generator=torch.Generator().manual_seed(r["torch_randn_seed"]))
            for r in records
        ]
        ids = torch.tensor([record["context"] for record in records])
        batched = of(records[0]).apply(ids, torch.cat(scores))
        for row, (record, before) in enumerate(zip(records, scores, strict=True)):
            after = of(record).apply(ids[row : row + 1], before)
            raised = (after[0] != before[0]).nonzero().flatten().tolist()
            assert (len(raised), raised[:16]) == (record["raised_count"], record["raised_first"])
            assert digest(raised) == record["raised_sha256_sorted"]
            assert torch.equal(after[0, raised], before[0, raised] + record["delta"])
            assert torch.equal(batched[row], after[0])


def test_detection_loads_no_torch() -> None:
    script = (
        "import sys; from pacos.watermark import Watermark; Watermark('selfhash', 400).detect(range(60)); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
