"""Packing: exactly the batch's examples, none of which sees another, and the padded batch's gradients."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from pacos.core.errors import PacosError
from pacos.core.recipe import TrainTable
from pacos.train import attention, loss
from pacos.train.data import Document
from pacos.train.loop import Loop
from pacos.train.loss import row_logits
from pacos.train.machine import Team
from pacos.train.optimizer import AdamW
from pacos.train.packing import MULTIPLE, NO_LABEL, Packer, label_weights, step_documents

SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPE |= {"vocab_size": 300, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GPT2 = {"vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 4, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}
# Of these documents' lengths some are shorter than the window, some end in it, and some begin before it.
GEMMA = {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 10, **SHAPE}
QWEN_WINDOW = {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1}
LAYERS = {"layer_types": ["sliding_attention", "full_attention"]}
CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**SHAPE),
    "llama, tied": lambda: LlamaConfig(**SHAPE, tie_word_embeddings=True),
    "mistral": lambda: MistralConfig(num_key_value_heads=1, **SHAPE),
    "qwen2": lambda: Qwen2Config(num_key_value_heads=2, **SHAPE),
    "qwen3": lambda: Qwen3Config(num_key_value_heads=2, head_dim=16, **SHAPE),
    "smollm3": lambda: SmolLM3Config(num_key_value_heads=2, **SHAPE),
    "gpt2": lambda: GPT2Config(**GPT2),
    "mistral, windowed": lambda: MistralConfig(num_key_value_heads=2, sliding_window=9, **SHAPE),
    "qwen2, windowed": lambda: Qwen2Config(num_key_value_heads=2, **QWEN_WINDOW, **SHAPE),
    "gemma": lambda: GemmaConfig(num_key_value_heads=1, head_dim=16, **SHAPE),
    "gemma2": lambda: Gemma2Config(attn_logit_softcapping=0.5, final_logit_softcapping=0.4, **LAYERS, **GEMMA),
    "gemma3": lambda: Gemma3TextConfig(**LAYERS, **GEMMA),
    "gemma3, capped": lambda: Gemma3TextConfig(final_logit_softcapping=0.4, **LAYERS, **GEMMA),
}
WINDOWED = {"mistral, windowed": 9, "qwen2, windowed": 20, "gemma2": 10, "gemma3": 10, "gemma3, capped": 10}
CPU = Team(0, 1, torch.device("cpu"), None)
PREFIXES = (tuple(range(50, 62)), tuple(range(80, 87)))


def documents_of(lengths: list[int], seed: int = 0) -> list[Document]:
    generator = torch.Generator().manual_seed(seed)
    return [
        Document(str(i), torch.randint(1, 300, (length,), generator=generator).tolist(), length // 3)
        for i, length in enumerate(lengths)
    ]


def shared_documents(seed: int = 0) -> list[Document]:
    """Mixed lengths: of either prefix and none, cut ones that end in the prompt's last token, of one token."""
    made = documents_of([30, 2, 1, 17, 40, 5, 9, 23, 3, 60, 28, 1], seed)
    shared = []
    for number, document in enumerate(made):
        prefix = (*PREFIXES, ())[number % 3]
        own = document.input_ids
        masked = max(len(prefix) + max(len(own) // 3, number % 2), 1)
        shared.append(Document(document.id, [*prefix, *own], min(masked, len(prefix) + len(own) - 1)))
    return [document for document in shared if document.num_labels > 0]


def make(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[name]())
    model.set_attn_implementation(attention.NAME)
    return model


@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=60),
    room=st.integers(20, 200),
    multiple=st.integers(1, 4),
    shared=st.booleans(),
)
def test_every_document_is_in_one_row_once_and_no_row_is_too_long(
    lengths: list[int], room: int, multiple: int, shared: bool
) -> None:
    documents = documents_of(lengths)
    if shared:
        documents = [Document(d.id, [*PREFIXES[0], *d.input_ids], 13) for d in documents]
        documents = [document for document in documents if document.num_labels > 0]
    rows = Packer(room, PREFIXES if shared else (), multiple).pack(documents, [1.0] * len(documents))
    assert len(rows) % multiple == 0
    packed: list[tuple[int, ...]] = []
    for row in rows:
        ids, places = row.inputs["input_ids"], row.inputs["documents"]
        assert ids.shape[1] == sum(places.lengths)
        assert ids.shape[1] % MULTIPLE == len(row.labels) % MULTIPLE == 0
        parts = [tuple(part.tolist()) for part in ids[0].split(list(places.lengths))]
        filled = row.computed_tokens < ids.shape[1]
        heads = {prefix for prefix in places.prefixes if prefix is not None}
        inside = [n for n in range(len(parts) - filled) if n not in heads]
        prefixes = places.prefixes
        packed += [(parts[prefixes[n]] if prefixes[n] is not None else ()) + parts[n] for n in inside]
        assert row.computed_tokens <= room or len(inside) == 1
        assert ((row.labels == NO_LABEL) == (row.weights == 0)).all()
    assert Counter(packed) == Counter(tuple(document.input_ids) for document in documents)
    assert sum(int((row.weights > 0).sum()) for row in rows) == sum(document.num_labels for document in documents)
    if shared:
        saved = sum(len(document.input_ids) for document in documents) - sum(row.computed_tokens for row in rows)
        assert saved >= len(PREFIXES[0]) * (len(documents) - len(rows))


@given(count=st.integers(1, 50), batch_size=st.integers(1, 20), seed=st.integers(0, 5))
def test_every_epoch_sees_every_document_once_in_full_batches(count: int, batch_size: int, seed: int) -> None:
    documents = documents_of([2] * count)
    steps = -(-count // batch_size)
    table = TrainTable(batch_size=batch_size, seed=seed)
    epochs = []
    for epoch in range(2):
        batches = [step_documents(documents, epoch * steps + step, table) for step in range(steps)]
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


@pytest.mark.parametrize("name", CONFIGS)
def test_packed_logits_are_each_documents_own(name: str) -> None:
    model, documents = make(name), shared_documents()
    (row,) = Packer(1000, PREFIXES).pack(documents, [1.0] * len(documents))
    ordered = sorted(documents, key=lambda d: -len(d.input_ids))
    expected = torch.cat([alone_logits(model, document) for document in ordered])
    assert row.computed_tokens < sum(len(document.input_ids) for document in documents)
    assert torch.allclose(row_logits(model, row)[: len(expected)], expected, atol=2e-6)


def test_changing_one_document_moves_no_logit_of_another() -> None:
    model, before = make("llama"), shared_documents()
    after = [
        Document(d.id, d.input_ids[: d.num_masked] + [9] * d.num_labels, d.num_masked) if d.id == "4" else d
        for d in before
    ]
    rows = [Packer(1000, PREFIXES).pack(documents, [1.0] * len(documents))[0] for documents in (before, after)]
    moved = (row_logits(model, rows[0]) - row_logits(model, rows[1])).abs().amax(-1)
    ordered = sorted(before, key=lambda d: -len(d.input_ids))
    for document, part in zip(
        ordered,
        moved.split([d.num_labels for d in ordered] + [len(moved) - sum(d.num_labels for d in ordered)]),
        strict=False,
    ):
        assert part[1:].min() > 0 if document.id == "4" else part.max() == 0


def varlen_by_the_book(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, query_bounds: torch.Tensor, key_bounds: torch.Tensor,
    *_: int, scale: float | None, window_size: tuple[int, int], enable_gqa: bool,
) -> torch.Tensor:  # fmt: skip
    """What torch documents of its CUDA kernel, in plain products: the last query sees all of its segment's keys."""
    assert window_size[1] == 0
    outputs = []
    for q, k in zip(query_bounds.unfold(0, 2, 1).tolist(), key_bounds.unfold(0, 2, 1).tolist(), strict=True):
        part, keys, values = query[slice(*q)], key[slice(*k)], value[slice(*k)]
        keys, values = (t.repeat_interleave(part.shape[1] // t.shape[1], 1).float() for t in (keys, values))
        scores = torch.einsum("qhd,khd->hqk", part.float(), keys) * (scale or part.shape[2] ** -0.5)
        allowed = torch.ones(scores.shape[1:], dtype=torch.bool).tril(len(keys) - len(part))
        if window_size[0] >= 0:
            allowed = allowed.triu(len(keys) - len(part) - window_size[0])
        weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
        outputs.append(torch.einsum("hqk,khd->qhd", weights, values))
    return torch.cat(outputs).to(query.dtype)


@pytest.mark.parametrize("window", [None, 1, 6, 20, 100])
def test_the_plan_for_the_fused_kernel_equals_the_cpus_attention(
    monkeypatch: pytest.MonkeyPatch, window: int | None
) -> None:
    # The kernel itself needs a GPU; what it is given does not.
    monkeypatch.setattr(attention, "varlen_attn", varlen_by_the_book)
    torch.manual_seed(1)
    documents = attention.Documents((7, 4, 31, 12, 1), (None, None, 0, 1, 0))
    tensors = [torch.randn(1, heads, 55, 8, requires_grad=True) for heads in (4, 2, 2)]
    results = []
    for attend in (attention._attend_one_by_one, attention._attend_at_once):
        output = attend(*tensors, documents, attention.Options(window=window))
        output.square().sum().backward()
        results.append([output, *(tensor.grad for tensor in tensors)])
        for tensor in tensors:
            tensor.grad = None
    for one_by_one, at_once in zip(*results, strict=True):
        assert torch.allclose(one_by_one, at_once, atol=1e-5)


def padded_gradients(model: PreTrainedModel, documents: list[Document], mode: str) -> tuple[float, torch.Tensor]:
    """A plain reference in fp64: transformers' own padded batch and loss, of all labels or of every four examples."""
    model = model.double()
    model.set_attn_implementation("eager")
    model.zero_grad()
    size = 4 if mode == "alpaca-2023" else len(documents)
    micros = [documents[start : start + size] for start in range(0, len(documents), size)]
    total = 0.0
    for micro in micros:
        width = max(len(document.input_ids) for document in micro)
        ids = torch.tensor([document.input_ids + [0] * (width - len(document.input_ids)) for document in micro])
        mask = torch.tensor([[1] * len(d.input_ids) + [0] * (width - len(d.input_ids)) for d in micro])
        labels = ids.masked_fill(mask == 0, -100)
        for row, document in enumerate(micro):
            labels[row, : document.num_masked] = -100
            for first, end in document.gaps:
                labels[row, first:end] = -100
        if getattr(model.config, "sliding_window", None):
            # A filling that sees filling alone is no number in fp64, and would be seen with weight 0.
            mask = torch.ones_like(mask)
        loss = model(ids, attention_mask=mask, labels=labels, use_cache=False).loss / len(micros)
        loss.backward()
        total += float(loss.detach())
    gradients = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    model.zero_grad()
    model.float()
    model.set_attn_implementation(attention.NAME)
    return total, gradients


@pytest.mark.parametrize("mode", ["modern", "alpaca-2023"])
@pytest.mark.parametrize("prefixes", [(), PREFIXES], ids=["whole", "shared"])
@pytest.mark.parametrize("row_tokens", [64, 1000])
@pytest.mark.parametrize("name", ["llama", "llama, tied", "qwen2", "gemma3"])
def test_gradients_equal_the_padded_batchs(
    name: str, mode: str, prefixes: tuple[tuple[int, ...], ...], row_tokens: int
) -> None:
    model, documents = make(name), shared_documents()
    expected_loss, expected = padded_gradients(model, documents, mode)
    table = TrainTable(mode=mode)  # type: ignore[arg-type]
    loop = Loop(model, AdamW(model, 0.0, {}, False), table, CPU, Packer(row_tokens, prefixes), "fp32", 1e12)
    loss = loop.accumulate(documents)[0]
    packed = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).double()
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert float((packed - expected).norm() / expected.norm()) < 1e-6


@pytest.mark.parametrize("padded", [False, True], ids=["packed", "padded"])
@pytest.mark.parametrize("row_tokens", [64, 1000])
def test_what_the_user_says_between_answers_is_in_no_loss(padded: bool, row_tokens: int) -> None:
    documents = [
        replace(d, gaps=((d.num_masked + 2, d.num_masked + 4), (len(d.input_ids) - 3, len(d.input_ids) - 2)))
        if d.num_labels > 8
        else d
        for d in shared_documents()
    ]
    assert sum(bool(document.gaps) for document in documents) > 3
    model = make("llama")
    expected_loss, expected = padded_gradients(model, documents, "modern")
    if padded:
        model.set_attn_implementation("sdpa")
    packer = Packer(row_tokens, () if padded else PREFIXES, padded=padded)
    loop = Loop(model, AdamW(model, 0.0, {}, False), TrainTable(), CPU, packer, "fp32", 1e12)
    assert loop.accumulate(documents)[0] == pytest.approx(expected_loss, rel=1e-6)
    gradients = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).double()
    assert float((gradients - expected).norm() / expected.norm()) < 1e-6


@pytest.mark.parametrize("at_once", [2**27, 300 * 17], ids=["one part", "parts"])
@pytest.mark.parametrize("name", CONFIGS)
def test_no_kind_of_window_cap_or_part_moves_a_gradient(
    name: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "LOGITS_AT_ONCE", at_once)
    model, documents = make(name), shared_documents()
    expected_loss, expected = padded_gradients(model, documents, "modern")
    loop = Loop(model, AdamW(model, 0.0, {}, False), TrainTable(), CPU, Packer(1000, PREFIXES), "fp32", 1e12)
    assert loop.accumulate(documents)[0] == pytest.approx(expected_loss, rel=1e-6)
    packed = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).double()
    assert float((packed - expected).norm() / expected.norm()) < 1e-6


@pytest.mark.parametrize(("name", "window"), WINDOWED.items())
def test_a_token_before_the_window_moves_nothing_in_a_layer(name: str, window: int) -> None:
    # One windowed layer alone, so that nothing comes round by another.
    config = CONFIGS[name]()
    config.num_hidden_layers, config.layer_types = 1, ["sliding_attention"]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.set_attn_implementation(attention.NAME)
    document = Document("0", [*PREFIXES[0], *range(100, 140)], len(PREFIXES[0]))
    moved = Document("0", [*PREFIXES[0], 9, *range(101, 140)], len(PREFIXES[0]))
    rows = [Packer(1000, PREFIXES[:1]).pack([each], [1.0])[0] for each in (document, moved)]
    apart = (row_logits(model, rows[0]) - row_logits(model, rows[1]))[: document.num_labels].abs().amax(1)
    # The first label's predictor is the prefix's last token, which is before the token that is changed.
    assert apart[0] == 0
    assert apart[1 : window + 1].min() > 0
    assert apart[window + 1 :].max() == 0


def test_logits_are_there_a_part_at_a_time_and_only_where_there_is_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "LOGITS_AT_ONCE", 300 * 17)
    seen = []
    whole = loss._loss_and_gradient
    monkeypatch.setattr(loss, "_loss_and_gradient", lambda *given: (seen.append(given[0].shape), whole(*given))[1])
    model, documents = make("llama"), shared_documents()
    (row,) = Packer(1000, PREFIXES).pack(documents, [1.0] * len(documents))
    loss.row_loss(model, row)
    assert sum(shape[0] for shape in seen) == len(row.labels) < row.computed_tokens + MULTIPLE
    assert max(shape[0] for shape in seen) == 17


@pytest.mark.parametrize("config", [GPTNeoXConfig(**SHAPE), CohereConfig(logit_scale=0.3, **SHAPE)])
def test_a_padded_models_head_is_computed_at_labels_only(config: PreTrainedConfig) -> None:
    torch.manual_seed(0)
    model, documents = AutoModelForCausalLM.from_config(config), shared_documents()
    shapes = []
    model.get_output_embeddings().register_forward_hook(lambda head, given, logits: shapes.append(logits.shape))
    (row,) = Packer(1000, padded=True).pack(documents, [1.0] * len(documents))
    logits = row_logits(model, row)
    whole = model(**row.inputs).logits.flatten(0, 1)
    assert shapes == [(1, len(row.labels), 300), (*row.inputs["input_ids"].shape, 300)]
    assert torch.allclose(logits, whole[row.predictors], atol=1e-6)


def test_a_model_with_attention_of_its_own_is_padded_to_the_same_gradients() -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(GPTNeoXConfig(**SHAPE))
    documents = shared_documents()
    expected_loss, expected = padded_gradients(model, documents, "modern")
    model.set_attn_implementation("sdpa")
    packer = Packer(100, padded=True)
    loop = Loop(model, AdamW(model, 0.0, {}, False), TrainTable(), CPU, packer, "fp32", 1e12)
    assert loop.accumulate(documents)[0] == pytest.approx(expected_loss, rel=1e-6)
    padded = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).double()
    assert float((padded - expected).norm() / expected.norm()) < 1e-6


@settings(deadline=None)
@given(lengths=st.lists(st.integers(2, 30), min_size=1, max_size=13), mode=st.sampled_from(["modern", "alpaca-2023"]))
def test_the_labels_weights_sum_to_one(lengths: list[int], mode: str) -> None:
    documents = documents_of(lengths)
    weights = label_weights(documents, mode)
    assert sum(w * d.num_labels for w, d in zip(weights, documents, strict=True)) == pytest.approx(1)


def test_attention_that_would_not_be_exact_is_refused() -> None:
    with pytest.raises(PacosError, match="could see each other"):
        make("llama")(torch.tensor([[1, 2, 3]]), use_cache=False)
    both_ways = AutoModelForCausalLM.from_config(Gemma3TextConfig(use_bidirectional_attention=True, **LAYERS, **GEMMA))
    both_ways.set_attn_implementation(attention.NAME)
    with pytest.raises(PacosError, match="could see each other"):
        row_logits(both_ways, Packer(100).pack(documents_of([9]), [1.0])[0])
