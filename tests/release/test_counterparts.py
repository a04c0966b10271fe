"""A difference is one to the base that the student was made from, whatever names both have, or there is none."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.release.rebuild import rebuild
from tests.train.bases import save_base

MakeRelease = Callable[..., Path]
FolderHashes = Callable[[Path], dict[str, str]]


def trained(base: Path, folder: Path, **options: bool) -> Path:
    """A student that transformers saved itself."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1e-3 * torch.randn_like(parameter))
    model.save_pretrained(folder, **options)
    return folder


def bases_named(made: Path) -> dict[str, str | None]:
    manifest = json.loads((made / "weights_diff/manifest.json").read_text())
    return {tensor["name"]: tensor["base"] for file in manifest["files"] for tensor in file["tensors"]}


@pytest.mark.parametrize("kind", ["gpt2", "bloom", "llama head alone", "gemma2", "gpt_neox tied", "mixtral"])
def test_a_student_that_transformers_saved_differs_from_its_base_alone(
    kind: str, tiny_model: Path, tmp_path: Path, make_release: MakeRelease, folder_hashes: FolderHashes
) -> None:
    base = save_base(kind, tiny_model, tmp_path / "base")
    student = trained(base, tmp_path / "student")
    made = make_release(base, student)
    assert None not in bases_named(made).values()
    assert "stored whole" not in (made / "MODEL_CARD.md").read_text()
    rebuild(made, str(base), tmp_path / "rebuilt")
    assert folder_hashes(tmp_path / "rebuilt") == folder_hashes(student)
    for other in ("llama", "gemma"):
        another = save_base(other, tiny_model, tmp_path / other)
        with pytest.raises(PacosError, match="not the base of this release"):
            rebuild(made, str(another), tmp_path / "again")


@pytest.mark.parametrize("head_of", ["base", "student"])
@pytest.mark.parametrize("kind", ["gpt2", "gemma", "gpt_neox tied", "opt", "falcon"])
def test_a_head_that_one_of_the_two_does_not_store_differs_from_the_embeddings_it_is_tied_to(
    kind: str, head_of: str, tiny_model: Path, tmp_path: Path, make_release: MakeRelease, folder_hashes: FolderHashes
) -> None:
    base = save_base(kind, tiny_model, tmp_path / "base")
    student = trained(base, tmp_path / "student")
    changed = base if head_of == "base" else student
    tensors = load_file(changed / "model.safetensors")
    embeddings = next(
        name for name in tensors if re.search(r"(embed_tokens|wte|embed_in|word_embeddings)\.weight", name)
    )
    tensors["embed_out.weight" if "neox" in kind else "lm_head.weight"] = tensors[embeddings].clone()
    if head_of == "base":
        del tensors[embeddings]
    save_file(tensors, changed / "model.safetensors", {"format": "pt"})
    made = make_release(base, student)
    assert None not in bases_named(made).values()
    rebuild(made, str(base), tmp_path / "rebuilt")
    assert folder_hashes(tmp_path / "rebuilt") == folder_hashes(student)


@pytest.mark.parametrize("other", ["gpt_neox", "a wider llama", "a student under its module's own names"])
def test_a_base_that_the_student_was_not_made_from_is_refused(
    other: str, tiny_model: Path, tmp_path: Path, make_release: MakeRelease
) -> None:
    if other == "gpt_neox":
        base, student = save_base("gpt_neox", tiny_model, tmp_path / "base"), tiny_model
    elif other == "a wider llama":
        base, student = save_base("llama", tiny_model, tmp_path / "base"), tiny_model
    else:
        base = save_base("mixtral", tiny_model, tmp_path / "base")
        student = trained(base, tmp_path / "student", save_original_format=False)
    with pytest.raises(PacosError, match=r"was not made from it and there is no difference") as caught:
        make_release(base, student)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run/release/weights_diff").exists()
    assert not (tmp_path / "run/release/done.json").exists()


def test_what_the_base_has_nothing_for_is_said(
    tiny_model: Path, tmp_path: Path, make_release: MakeRelease, capsys: pytest.CaptureFixture[str]
) -> None:
    student = trained(tiny_model, tmp_path / "student")
    tensors = load_file(student / "model.safetensors")
    tensors["model.more.weight"] = torch.randn(64, 64)
    save_file(tensors, student / "model.safetensors", {"format": "pt"})
    share = 64 * 64 / sum(tensor.numel() for tensor in tensors.values())
    card = (make_release(tiny_model, student) / "MODEL_CARD.md").read_text()
    assert f"For {share:.1%} of the weights the base has no counterpart" in card
    assert f"{share:.1%} of the weights have no counterpart" in capsys.readouterr().out


def test_a_base_without_safetensors_gets_no_difference_whatever_lies_beside_it(
    tiny_model: Path, tmp_path: Path, make_release: MakeRelease, capsys: pytest.CaptureFixture[str]
) -> None:
    base = save_base("gpt2", tiny_model, tmp_path / "base")
    student = trained(base, tmp_path / "student")
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    save_file({"h.0.lora_A.weight": torch.ones(2, 2)}, base / "adapter_model.safetensors")
    made = make_release(base, student)
    assert not (made / "weights_diff").exists()
    assert "Convert" in capsys.readouterr().out
    assert "There is no weight difference" in (made / "MODEL_CARD.md").read_text()


def test_whole_weights_that_an_older_release_calls_a_difference_are_not_rebuilt_on_any_base(
    tiny_model: Path, tmp_path: Path, make_release: MakeRelease
) -> None:
    made = make_release(tiny_model, trained(tiny_model, tmp_path / "student"))
    path = made / "weights_diff/manifest.json"
    before, manifest = sha256_file(path), json.loads(path.read_text())
    for file in manifest["files"]:
        for tensor in file["tensors"]:
            tensor["base"] = None
    path.write_text(json.dumps(manifest))
    sums = made / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(before, sha256_file(path)))
    with pytest.raises(PacosError, match="whole weights and no difference"):
        rebuild(made, str(tiny_model), tmp_path / "rebuilt")
