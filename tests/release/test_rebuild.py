"""The student comes back bit for bit from every kind of base, and nothing else ever does."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pacos.cli.main import main
from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.release.rebuild import rebuild

Tensors = dict[str, torch.Tensor]


def weights(dtype: torch.dtype, rows: int = 40, seed: int = 0) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {
        "model.embed_tokens.weight": torch.randn(rows, 16, generator=generator).to(dtype),
        "model.layers.0.weight": torch.randn(16, 24, generator=generator).to(dtype),
        "model.norm.weight": torch.randn(16, generator=generator).to(dtype),
    }


def tuned(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    generator = torch.Generator().manual_seed(1)
    return {
        name: (t.float() + 1e-3 * torch.randn(t.shape, generator=generator)).to(dtype) for name, t in tensors.items()
    }


def with_more_rows(tensors: Tensors) -> Tensors:
    embeddings = tensors["model.embed_tokens.weight"]
    return {**tensors, "model.embed_tokens.weight": torch.cat([embeddings, embeddings.mean(0, keepdim=True)])}


def with_strange_values(tensors: Tensors) -> Tensors:
    strange = tensors["model.norm.weight"].clone()
    strange[:5] = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 1e-40])
    return {**tensors, "model.norm.weight": strange}


F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16
PAIRS: dict[str, tuple[Tensors, tuple[Tensors, ...]]] = {
    "fp32 on fp32": (weights(F32), (tuned(weights(F32), F32),)),
    "bf16 on bf16": (weights(BF16), (tuned(weights(BF16), BF16),)),
    "fp32 on bf16": (weights(BF16), (tuned(weights(BF16), F32),)),
    "bf16 on fp32": (weights(F32), (tuned(weights(F32), BF16),)),
    "bf16 on fp16": (weights(F16), (tuned(weights(F16), BF16),)),
    "unchanged": (weights(F32), (weights(F32),)),
    "a row more": (weights(F32), (with_more_rows(tuned(weights(F32), F32)),)),
    "a row fewer": (with_more_rows(weights(F32)), (tuned(weights(F32), F32),)),
    "another shape": (weights(F32), ({**weights(F32), "model.layers.0.weight": torch.randn(24, 16)},)),
    "untied": (weights(F32), ({**weights(F32), "lm_head.weight": weights(F32)["model.embed_tokens.weight"] + 1},)),
    "a tensor more": (weights(F32), ({**weights(F32), "extra": torch.randn(7)},)),
    "a tensor fewer": ({**weights(F32), "extra": torch.randn(7)}, (weights(F32),)),
    "nan and infinity": (with_strange_values(weights(F32)), (with_strange_values(tuned(weights(F32), F32)),)),
    "other types": (
        {"count": torch.tensor(7), "mask": torch.tensor([True, False]), "none": torch.zeros(0, 3), "a": torch.ones(2)},
        (
            {
                "count": torch.tensor(9),
                "mask": torch.tensor([True, True]),
                "none": torch.zeros(0, 3),
                "a": -torch.ones(2),
            },
        ),
    ),
    "two files": (weights(BF16), ({"model.norm.weight": weights(F32)["model.norm.weight"]}, {"b": torch.ones(3, 3)})),
}


def test_a_release_that_was_stopped_is_made_anew_without_what_lay_there(
    save_checkpoint: Callable[..., Path], make_release: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "run/release/model").mkdir(parents=True)
    (tmp_path / "run/release/model/model-00001-of-00009.safetensors").write_text("half")
    made = make_release(save_checkpoint("base", weights(F32)), save_checkpoint("student", tuned(weights(F32), F32)))
    assert not list(made.rglob("*-of-00009*"))
    assert "of-00009" not in (made / "SHA256SUMS").read_text()


def test_a_manifest_that_lacks_a_block_is_damaged_and_no_traceback(
    save_checkpoint: Callable[..., Path], make_release: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_checkpoint("base", weights(F32))
    made = make_release(base, save_checkpoint("student", tuned(weights(F32), F32)))
    path, sums = made / "weights_diff/manifest.json", made / "SHA256SUMS"
    before = sha256_file(path)
    manifest = json.loads(path.read_text())
    manifest["files"][0]["tensors"][0]["block_bytes"].pop()
    path.write_text(json.dumps(manifest))
    sums.write_text(sums.read_text().replace(before, sha256_file(path)))
    with pytest.raises(PacosError, match="damaged"):
        rebuild(made, str(base), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pair", PAIRS)
def test_bit_for_bit(
    pair: str, save_checkpoint: Callable, make_release: Callable, folder_hashes: Callable, tmp_path: Path
) -> None:
    base_tensors, student_parts = PAIRS[pair]
    base, student = save_checkpoint("base", base_tensors), save_checkpoint("student", *student_parts)
    made = make_release(base, student)
    shutil.rmtree(made / "model")  # the model itself is not needed
    rebuild(made, str(base), tmp_path / "rebuilt")
    assert folder_hashes(tmp_path / "rebuilt") == folder_hashes(student)


def test_tensors_over_several_blocks(
    save_checkpoint: Callable,
    make_release: Callable,
    folder_hashes: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pacos.release.weights_diff.BLOCK_UNITS", 100)
    student = save_checkpoint("student", with_more_rows(tuned(weights(BF16, rows=61), F32)))
    base = save_checkpoint("base", weights(BF16, rows=61))
    rebuild(make_release(base, student), str(base), tmp_path / "rebuilt")
    assert folder_hashes(tmp_path / "rebuilt") == folder_hashes(student)


def test_one_flipped_bit_is_caught(save_checkpoint: Callable, make_release: Callable, tmp_path: Path) -> None:
    """Any bit of any file of the release but the cut-off stage bookkeeping, and any bit of the base's weights."""
    base = save_checkpoint("base", weights(BF16))
    made = make_release(base, save_checkpoint("student", tuned(weights(BF16), F32)))
    bookkeeping = {"report.json", "done.json", "recipe.json"}
    files = sorted(path for path in made.rglob("*") if path.is_file() and path.name not in bookkeeping)
    assert len(files) >= 10
    chance = random.Random(5)
    for path in [*files, base / "model.safetensors"]:
        whole = path.read_bytes()
        for _ in range(6 if whole else 0):
            bit = chance.randrange(8 * len(whole))
            broken = bytearray(whole)
            broken[bit // 8] ^= 1 << (bit % 8)
            path.write_bytes(broken)
            with pytest.raises(PacosError) as caught:
                rebuild(made, str(base), tmp_path / "rebuilt")
            assert "\n" not in str(caught.value)
            assert not list(tmp_path.glob("*rebuilt*"))
        path.write_bytes(whole)
    rebuild(made, str(base), tmp_path / "rebuilt")


def without_a_line(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.endswith("  model/config.json")]


def with_a_line_for_a_file_that_is_not_there(lines: list[str]) -> list[str]:
    return [*lines, f"{'ab' * 32}  model/more.safetensors"]


def with_a_second_line(lines: list[str]) -> list[str]:
    return [f"{'ab' * 32}  model/config.json", *lines]


def with_another_hash(lines: list[str]) -> list[str]:
    return [f"{'ab' * 32}  model/config.json" if line.endswith("  model/config.json") else line for line in lines]


@pytest.mark.parametrize("has_model", [True, False], ids=["beside model", "of the difference alone"])
@pytest.mark.parametrize(
    "change",
    [without_a_line, with_a_line_for_a_file_that_is_not_there, with_a_second_line, with_another_hash],
)
def test_the_checksums_of_the_model_are_exactly_those_of_what_is_rebuilt(
    change: Callable[[list[str]], list[str]],
    has_model: bool,
    save_checkpoint: Callable,
    make_release: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = save_checkpoint("base", weights(F32))
    made = make_release(base, save_checkpoint("student", tuned(weights(F32), F32)))
    if not has_model:
        shutil.rmtree(made / "model")
    sums = made / "SHA256SUMS"
    sums.write_text("\n".join(change(sums.read_text().splitlines())) + "\n")
    command = ["pacos", "rebuild", made, "--base", base, "--out", tmp_path / "rebuilt"]
    monkeypatch.setattr("sys.argv", [str(word) for word in command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "model/" in line or "SHA256SUMS" in line
    assert not list(tmp_path.glob("*rebuilt*"))


@pytest.mark.parametrize(
    "other",
    [weights(BF16, seed=3), weights(F32), weights(BF16, rows=39), {"extra": torch.ones(3)}],
    ids=["trained otherwise", "of another type", "with fewer rows", "of another model"],
)
def test_another_base_is_refused(
    other: Tensors, save_checkpoint: Callable, make_release: Callable, tmp_path: Path
) -> None:
    base = save_checkpoint("base", weights(BF16))
    made = make_release(base, save_checkpoint("student", tuned(weights(BF16), F32)))
    another = save_checkpoint("another", other)
    with pytest.raises(PacosError, match=r"another: not the base of this release: .*model\."):
        rebuild(made, str(another), tmp_path / "rebuilt")
    assert not (tmp_path / "rebuilt").exists()


def test_nothing_is_overwritten(save_checkpoint: Callable, make_release: Callable, tmp_path: Path) -> None:
    base = save_checkpoint("base", weights(F32))
    made = make_release(base, save_checkpoint("student", tuned(weights(F32), F32)))
    with pytest.raises(PacosError, match="exists already"):
        rebuild(made, str(base), base)


def test_a_base_cut_short_is_refused(save_checkpoint: Callable, make_release: Callable, tmp_path: Path) -> None:
    base = save_checkpoint("base", weights(F32))
    made = make_release(base, save_checkpoint("student", tuned(weights(F32), F32)))
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(PacosError, match="not a whole safetensors file"):
        rebuild(made, str(base), tmp_path / "rebuilt")
