"""Packing: exactly the batch's examples, none of which sees another, and the padded batch's gradients."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from pacos.core.errors import PacosError
from pacos.train import attention
from pacos.train.data import Document
from pacos.train.device import autocast
from pacos.train.loop import accumulate_gradients
from pacos.train.loss import row_logits
from pacos.train.packing import MULTIPLE, NO_LABEL, pack, step_documents
from pacos.train.student import load_base

SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(vocab_size=300, **SHAPE)),
    "qwen, shared key heads": lambda: Qwen2ForCausalLM(Qwen2Config(vocab_size=300, num_key_value_heads=2, **SHAPE)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(vocab_size=300, num_key_value_heads=1, **SHAPE)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    ),
}
FP32 = autocast(torch.device("cpu"), "fp32")


def documents_of(lengths: list[int], seed: int = 0) -> list[Document]:
    generator = torch.Generator().manual_seed(seed)
    return [
        Document(str(i), torch.randint(1, 300, (length,), generator=generator).tolist(), length // 3, False)
        for i, length in enumerate(lengths)
    ]


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    made = MODELS[request.param]()
    made.set_attn_implementation(attention.NAME)
    return made


@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=60), room=st.integers(20, 200))
def test_every_document_is_in_one_row_once_and_no_row_is_too_long(lengths: list[int], room: int) -> None:
    documents = documents_of(lengths)
    rows = pack(documents, room)
    packed = []
    for row in rows:
        assert row.input_ids.shape[1] == sum(row.lengths)
        assert row.input_ids.shape[1] % MULTIPLE == len(row.labels) % MULTIPLE == 0
        here = [tuple(ids.tolist()) for ids in row.input_ids[0].split(list(row.lengths))]
        # The last may be filling, which belongs to no document and has no label.
        filled = len(here) > 1 and set(here[-1]) == {0} and sum(map(len, here[:-1])) % MULTIPLE
        packed += here[:-1] if filled else here
        assert sum(map(len, here[: len(here) - bool(filled)])) <= room or len(here) - bool(filled) == 1
        assert (row.labels[: row.num_labels] >= 0).all()
        assert (row.labels[row.num_labels :] == NO_LABEL).all()
    assert Counter(packed) == Counter(tuple(document.input_ids) for document in documents)
    labels = sum(row.num_labels for row in rows)
    assert labels == sum(document.num_labels for document in documents)


@given(count=st.integers(1, 50), batch_size=st.integers(1, 20), seed=st.integers(0, 5))
def test_every_epoch_sees_every_document_once_in_full_batches(count: int, batch_size: int, seed: int) -> None:
    documents = documents_of([2] * count)
    steps = -(-count // batch_size)
    epochs = []
    for epoch in range(2):
        batches = [step_documents(documents, epoch * steps + step, batch_size, seed) for step in range(steps)]
        assert all(len(batch) == batch_size for batch in batches[:-1])
        epochs.append([document.id for batch in batches for document in batch])
        assert sorted(epochs[-1]) == sorted(document.id for document in documents)
    if count > 10:
        assert epochs[0] != epochs[1]


def alone_logits(model: PreTrainedModel, document: Document) -> torch.Tensor:
    """Logits at the supervised predictors of one document by transformers' own attention, without packing."""
    model.set_attn_implementation("eager")
    first = max(document.num_masked, 1) - 1
    logits = model(torch.tensor([document.input_ids]), use_cache=False).logits[0, first:-1]
    model.set_attn_implementation(attention.NAME)
    return logits


def test_packed_logits_are_each_documents_own(model: PreTrainedModel) -> None:
    documents = documents_of([2, 30, 1, 17, 64, 5])
    (row,) = pack(documents, 1000)
    expected = torch.cat([alone_logits(model, d) for d in sorted(documents, key=lambda d: -len(d.input_ids))])
    assert row.num_labels == len(expected)
    assert torch.allclose(row_logits(model, row)[: row.num_labels], expected, atol=2e-6)


def test_changing_one_document_moves_no_logit_of_another(model: PreTrainedModel) -> None:
    before, after = documents_of([20, 20, 20]), documents_of([20, 20, 20])
    after[1] = documents_of([20], seed=9)[0]
    (row_before,), (row_after,) = pack(before, 100), pack(after, 100)
    moved = (row_logits(model, row_before) - row_logits(model, row_after)).abs().amax(-1)[:42].split([14, 14, 14])
    assert moved[0].max() == 0
    assert moved[1].min() > 0
    assert moved[2].max() == 0


def test_the_accelerators_attention_equals_the_cpus() -> None:
    torch.manual_seed(1)
    lengths = (7, 1, 31, 12)
    tensors = [torch.randn(1, heads, sum(lengths), 8, requires_grad=True) for heads in (4, 2, 2)]
    options = {"scale": None, "dropout_p": 0.0, "enable_gqa": True}
    results = []
    for attend in (attention._attend_one_by_one, attention._attend_padded):
        output = attend(*tensors, lengths, options)
        output.square().sum().backward()
        results.append([output, *(tensor.grad for tensor in tensors)])
        for tensor in tensors:
            tensor.grad = None
    for one_by_one, padded in zip(*results, strict=True):
        assert torch.allclose(one_by_one, padded, atol=1e-5)


@pytest.mark.parametrize("row_tokens", [64, 200, 1000])
def test_gradients_equal_the_padded_batchs(row_tokens: int) -> None:
    torch.manual_seed(0)
    documents = documents_of([64, 3, 2, 40, 17, 25, 1, 33])

    model = MODELS["llama"]().double()
    width = 64
    ids = torch.tensor([document.input_ids + [0] * (width - len(document.input_ids)) for document in documents])
    labels = torch.full_like(ids, -100)
    for row, document in enumerate(documents):
        labels[row, document.num_masked : len(document.input_ids)] = ids[
            row, document.num_masked : len(document.input_ids)
        ]
    mask = torch.tensor([[1] * len(d.input_ids) + [0] * (width - len(d.input_ids)) for d in documents])
    padded_loss = model(ids, attention_mask=mask, labels=labels, use_cache=False).loss
    padded_loss.backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    model = model.float()
    model.zero_grad()
    model.set_attn_implementation(attention.NAME)
    loss = accumulate_gradients(model, pack(documents, row_tokens), FP32)
    packed = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).double()
    assert loss == pytest.approx(float(padded_loss), rel=1e-6)
    assert float((packed - expected).norm() / expected.norm()) < 1e-6


def test_attention_that_would_not_be_exact_is_refused(tiny_model: Path) -> None:
    model, _ = load_base(str(tiny_model))
    with pytest.raises(PacosError, match="could see each other"):
        model(torch.tensor([[1, 2, 3]]), use_cache=False)
    config = MistralConfig(vocab_size=300, num_key_value_heads=4, sliding_window=8, **SHAPE)
    windowed = MistralForCausalLM(config)
    windowed.set_attn_implementation(attention.NAME)
    with pytest.raises(PacosError, match=r"lower train\.max_length to 8"):
        row_logits(windowed, pack(documents_of([9]), 100)[0])
