"""What a GPU runs compiled, compiled here for the CPU: the same gradients and updates, and a graph a row's length."""

import shutil
from dataclasses import replace

import pytest
import torch
from torch._dynamo.utils import counters

from pacos.core.recipe import TrainTable
from pacos.train.data import Document
from pacos.train.loop import Loop
from pacos.train.machine import compile_layers
from pacos.train.optimizer import AdamW, join, split, update_8bit
from pacos.train.packing import COMPILED_LENGTHS, Packer, row_fill
from tests.conftest import missing_part
from tests.train.test_packing import CPU, PREFIXES, documents_of, make, shared_documents


@pytest.fixture(autouse=True)
def compiler() -> None:
    if not shutil.which("g++") and not shutil.which("clang++"):
        missing_part("torch.compile needs a C++ compiler on a CPU")
    torch.compiler.reset()


def test_a_gpus_rows_have_few_lengths() -> None:
    rows, lengths = 4000, set()
    fill = row_fill(rows, torch.device("cuda"))
    packer = Packer(rows, PREFIXES, fill=fill)
    for seed in range(60):
        documents = documents_of([5 + (seed * 37 + n * 61) % 500 for n in range(seed + 1)], seed)
        packed = packer.pack(documents, [1.0] * len(documents))
        lengths |= {row.inputs["input_ids"].shape[1] for row in packed}
        assert sum(row.computed_tokens for row in packed) == sum(len(document.input_ids) for document in documents)
    assert all(length % fill == 0 for length in lengths)
    assert 3 < len(lengths) <= COMPILED_LENGTHS


def test_compiled_layers_give_the_same_gradients_and_a_known_length_compiles_nothing() -> None:
    model = make("llama")
    loop = Loop(model, AdamW(model, 0.0, {}, False), TrainTable(), CPU, Packer(1000, PREFIXES, fill=256), "fp32", 1e12)

    def gradients(documents: list[Document], loop: Loop = loop) -> torch.Tensor:
        model.zero_grad()
        loop.accumulate(documents)
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    batches = [shared_documents(0), documents_of([40, 300, 30]), shared_documents(1), documents_of([200, 200])]
    # Of these batches the first and third have rows of 256 tokens, the others of 512.
    unshared = replace(loop, packer=replace(loop.packer, prefixes=()))
    plain = [gradients(batch) for batch in batches]
    compile_layers(model)
    graphs = []
    for batch, expected in zip(batches, plain, strict=True):
        found = gradients(batch)
        assert float((found - expected).norm() / expected.norm()) < 1e-6
        graphs.append(counters["stats"]["unique_graphs"])
    assert 0 < graphs[0] < graphs[1] == graphs[2] == graphs[3]
    assert float((gradients(batches[0], unshared) - plain[0]).norm() / plain[0].norm()) < 1e-6


@pytest.mark.parametrize("is_split", [False, True])
def test_a_compiled_8_bit_update_is_the_same_update(is_split: bool) -> None:
    updated = []
    for update in (update_8bit, torch.compile(update_8bit, dynamic=False)):
        generator = torch.Generator().manual_seed(0)
        start = torch.randn(24, 300, generator=generator)
        moments = {"exp_avg": torch.int8, "exp_avg_sq": torch.uint8}
        state = {name: torch.zeros(24, 300, dtype=kind) for name, kind in moments.items()}
        state |= {f"{name}_scale": torch.zeros(24, 2) for name in moments} | {"step": torch.zeros(())}
        weight = start.clone()
        if is_split:
            weight, state["remainder"] = split(start)
        for step in range(10):
            gradient = torch.randn(24, 300, generator=generator)
            update(weight, gradient, state, *torch.tensor([1e-3 * step, 0.01, 0.5]))
        updated.append((join(weight, state["remainder"]) if is_split else weight) - start)
    # Where a sum lies on the border between two levels, another order of operations takes the other one.
    assert float((updated[0] - updated[1]).norm() / updated[0].norm()) < 0.01
