"""The compact optimizer: fp32 bit for bit where its states are fp32, and as good where they are 8-bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from pacos.train.optimizer import (
    FIRST,
    SECOND,
    AdamW,
    dequantise,
    join,
    quantise,
    split,
)

STEPS = 200


@given(bits=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=50))
def test_any_fp32_is_put_together_again_to_the_bit(bits: list[int]) -> None:
    master = torch.tensor(bits, dtype=torch.int32).view(torch.float32)
    high, low = split(master)
    assert torch.equal(join(high, low).view(torch.int32), master.view(torch.int32))
    finite = master.isfinite() & (master.abs() < 3e38)
    assert torch.allclose(high.view(torch.bfloat16).float()[finite], master[finite], rtol=2**-8, atol=1e-38)


@settings(deadline=None)
@given(rows=st.integers(1, 3), columns=st.integers(1, 600), seed=st.integers(0, 99))
def test_eight_bits_keep_sign_order_of_size_and_every_positive_second_moment(
    rows: int, columns: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, columns, generator=generator) ** 3
    dither = torch.rand(256, generator=generator)
    back = dequantise(*quantise(values, *FIRST, dither), *FIRST)
    largest = values.abs().max()
    assert (back - values).abs().max() <= 0.016 * largest
    assert (back * values >= 0).all()
    squares = values.square()
    squares[:, ::7] = 0
    back = dequantise(*quantise(squares, *SECOND, dither), *SECOND)
    assert ((back > 0) == (squares > 0)).all()
    assert (back - squares).abs().max() <= 0.016 * squares.max()


def test_rounding_is_even_over_the_dither() -> None:
    values = torch.full((1, 256), 0.123)
    values[0, 0] = 1
    spread = (torch.arange(256) + 0.5) / 256
    back = dequantise(*quantise(values, *SECOND, spread), *SECOND)
    assert back[0, 1:].unique().numel() == 2
    assert float(back[0, 1:].mean()) == pytest.approx(0.123, rel=5e-4)


def test_what_is_too_small_for_a_level_adds_up_over_the_steps() -> None:
    weight = torch.nn.Parameter(torch.zeros(16, 256))
    weight.grad = torch.full((16, 256), 0.0026)
    # In each row the first sets the scale: the others' moments lie between two levels, a third of their value apart.
    weight.grad[:, 0] = 1
    optimizer = AdamW(torch.nn.ParameterList([weight]), 0.0, {}, True)
    means = []
    for step in range(900):
        optimizer.step(0.0)
        state = optimizer.state[weight]
        means += [dequantise(state["exp_avg"], state["exp_avg_scale"], *FIRST)] if step >= 100 else []
    found = torch.stack(means).mean(0)[:, 1:]
    assert found.min() > 0.9 * 0.0026
    assert found.max() < 1.1 * 0.0026


def small_model(tied: bool) -> LlamaForCausalLM:
    torch.manual_seed(0)
    # Odd in every shape: 301 tokens, 68 wide, 90 inside; blocks of 256 fit none of them.
    config = LlamaConfig(
        vocab_size=301, hidden_size=68, intermediate_size=90, num_hidden_layers=2, num_attention_heads=2
    )
    config.tie_word_embeddings = tied
    return LlamaForCausalLM(config)


def batch(step: int) -> torch.Tensor:
    """Sequences with a rule to learn: each token follows from the one before."""
    generator = torch.Generator().manual_seed(step)
    start = torch.randint(0, 301, (8, 1), generator=generator)
    return (start + 7 * torch.arange(24)) % 301


def backward(model: LlamaForCausalLM, step: int) -> float:
    ids = batch(step)
    loss = model(ids, labels=ids, use_cache=False).loss
    loss.backward()
    return float(loss.detach())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kept", ["fp32", "split"])
def test_updates_equal_torchs_own_adamw_on_fp32_to_the_bit(tied: bool, kept: str) -> None:
    model = small_model(tied)
    masters = {name: torch.nn.Parameter(parameter.detach().clone()) for name, parameter in model.named_parameters()}
    matrices, vectors = ([p for p in masters.values() if (p.ndim >= 2) is wide] for wide in (True, False))
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=1e-3, fused=True)
    remainders = {}
    if kept == "split":
        for parameter in model.parameters():
            parameter.data, remainders[parameter] = (bits.view(torch.bfloat16) for bits in split(parameter.data))
    optimizer = AdamW(model, 0.01, remainders, False)
    for step in range(STEPS):
        backward(model, step)
        norm = float(torch.nn.utils.get_total_norm([gradient.float() for gradient in optimizer.gradients()]))
        factor = min(1.0, 1.0 / (norm + 1e-6))
        for name, parameter in model.named_parameters():
            masters[name].grad = parameter.grad.float() * factor
        reference.step()
        optimizer.step(1e-3, factor)
        model.zero_grad()
    for name, parameter in model.named_parameters():
        kept_bits = [part.view(torch.int16) for part in (parameter.data, remainders[parameter])] if remainders else []
        assert torch.equal(join(*kept_bits) if remainders else parameter.data, masters[name]), name


@pytest.mark.parametrize("tied", [True, False])
def test_eight_bit_states_learn_as_well_as_fp32(tied: bool) -> None:
    losses = []
    for eight_bit in (False, True):
        model = small_model(tied)
        optimizer = AdamW(model, 0.0, {}, eight_bit)
        tail = []
        for step in range(STEPS):
            loss = backward(model, step)
            tail += [loss] if step >= STEPS - 50 else []
            norm = float(torch.nn.utils.get_total_norm(optimizer.gradients()))
            optimizer.step(5e-4, min(1.0, 1.0 / (norm + 1e-6)))
            model.zero_grad()
        losses.append(sum(tail) / len(tail))
    assert losses[0] < 4.5
    assert losses[1] == pytest.approx(losses[0], rel=0.005)
    compact = [state for state in optimizer.state.values() if "exp_avg_scale" in state]
    assert {state["exp_avg"].dtype for state in compact} == {torch.int8}
