"""How much memory training will take, from the base's config.json alone."""

import re
from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, PreTrainedModel

from pacos.core.errors import PacosError
from pacos.core.models import resolve_model
from pacos.core.recipe import TrainTable
from pacos.engines.local.device import choose_precision
from pacos.train.attention import PACKABLE
from pacos.train.loss import AT_ONCE, LOGITS_AT_ONCE

# Bytes that a layer keeps of a token for its backward pass, by precision, for each unit of: the hidden state; each norm
# of it; the MLP's inner state (gate, its activation, up, their product); queries (and attention's output, as wide);
# keys (and values). Counted by autograd's saved tensors on LLaMA, Qwen 3 and Gemma 3, to 1%.
KEPT_BYTES = {"fp32": (8, 8, 16, 8, 8), "bf16": (10, 8, 8, 4, 4), "split": (6, 5, 8, 4, 4)}
# On a CPU attention computes in fp32, on copies of its queries, keys and values; everywhere the keys and values of a
# shared prefix stand before each example's own.
CPU_ATTENTION = (6, 4)
SHARED_PREFIX = 10
# Of a norm of queries and keys, for each unit of these.
QUERY_NORM = 8
# Checkpoints kept, and one being written.
CHECKPOINTS = 3
# Of a GPU's memory; the rest is for the driver, fragments and what the estimate does not know.
USED = 0.88
ROW_TOKENS = {"cpu": 4096, "mps": 4096, "cuda": 8192}
# From so many parameters on, `auto` keeps a GPU's weights split and its optimizer states in 8 bits.
LARGE = 10**9
# The interpreter with its libraries, in the memory that a device shares with it, and what its allocator keeps.
LIBRARIES = 800 * 10**6

# Width, layers, heads, heads of keys and values, inner width, vocabulary: of LLaMA (Touvron et al. 2023, table 2), of
# Llama 2's 70B and Llama 3's 8B, as their config.json have them. Llama 2's 7B and 13B have LLaMA's shapes.
PUBLISHED_LLAMAS = {
    "7": (4096, 32, 32, 32, 11008, 32000),
    "8": (4096, 32, 32, 8, 14336, 128256),
    "13": (5120, 40, 40, 40, 13824, 32000),
    "30": (6656, 60, 52, 52, 17920, 32000),
    "33": (6656, 60, 52, 52, 17920, 32000),
    "65": (8192, 80, 64, 64, 22016, 32000),
    "70": (8192, 80, 64, 8, 28672, 32000),
}


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that training holds at its peak on one of its devices, by what holds them."""

    parameters: int
    precision: str
    eight_bit: bool
    row_tokens: int
    parts: dict[str, int]
    disk: int
    """Checkpoints and the final model, in the run folder."""

    @property
    def total(self) -> int:
        """All that must be in the device's memory at once."""
        return sum(self.parts.values())

    @property
    def said(self) -> str:
        """The parts in one line."""
        parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in self.parts.items())
        return f"estimated at {self.total / 1e9:.2f} GB ({parts})"


def estimate_memory(
    table: TrainTable,
    device: torch.device,
    devices: int = 1,
    config: PreTrainedConfig | None = None,
    tokens: int | None = None,
) -> MemoryEstimate:
    """Estimates a recipe's training by the base's config.json, or by `config` where the base is not there yet.

    `tokens` are the most that a step has; where they are not known, every example is as long as it may be. Reads no
    weights. PacosError where there is no config that can be used. Settles what `auto` and unset keys become:
    of rows the longest that fits the device.
    """
    capacity = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    config, model = _shapes(table.base, config)
    parameters = model.num_parameters()
    precision = choose_precision(table.precision, device)
    # Not where there is no bf16: what splits weights is made of it.
    if precision == "bf16" and table.precision == "auto" and capacity and parameters > LARGE:
        precision = "split" if table.engine == "pacos" else precision
    eight_bit = table.optimizer == "adamw-8bit" or (table.optimizer == "auto" and precision == "split")
    linear = (module.weight.shape for module in model.modules() if isinstance(module, torch.nn.Linear))
    # An adapter of rank r beside a layer of I inputs and O outputs has r(I + O) weights.
    trained = table.lora.rank * sum(map(sum, linear)) if table.lora else parameters
    # Split, a weight is 2 bytes, and 2 more where it is trained; else 4.
    weights = 2 * parameters + 2 * trained if precision == "split" else 4 * parameters
    states = _state_bytes(trained, config.get_text_config(), eight_bit)
    most = tokens or table.batch_size * table.max_length
    row = table.row_tokens or max(ROW_TOKENS[device.type], table.max_length)
    while True:
        # Of a second row the embeddings' gradient is there beside that of the first.
        gradients = trained + (_embeddings(config) if most > row and not table.lora else 0)
        parts = {
            "libraries": 0 if capacity else LIBRARIES,
            "weights": weights // devices,
            "gradients": (2 if precision == "split" else 4) * gradients // devices,
            "optimizer state": states // devices,
        } | _row_bytes(min(most, row), model, precision, device)
        fits = not capacity or sum(parts.values()) < USED * capacity
        if fits or table.row_tokens or row // 2 < table.max_length:
            saved = (4 * trained if table.lora else weights) + states
            return MemoryEstimate(parameters, precision, eight_bit, row, parts, CHECKPOINTS * saved + 4 * trained)
        row = row * 7 // 8


def _state_bytes(trained: int, text: PreTrainedConfig, eight_bit: bool) -> int:
    """Two moments a weight: 4 bytes each, or 1 with a scale of 4 for every block of 256. In 8 bits a tensor's fp32
    value, gradient and moments, 16 bytes, are there for the moment of its update; the largest are the embeddings."""
    return trained * 2 + trained // 32 + 16 * text.vocab_size * text.hidden_size if eight_bit else 8 * trained


def _embeddings(config: PreTrainedConfig) -> int:
    text = config.get_text_config()
    return int(text.vocab_size * text.hidden_size)


def _row_bytes(tokens: int, model: PreTrainedModel, precision: str, device: torch.device) -> dict[str, int]:
    """What a row of so many tokens holds until its backward pass is done."""
    text, packs = model.config.get_text_config(), model.config.model_type in PACKABLE
    embeddings, width = _embeddings(model.config), 4 if precision == "fp32" else 2
    # Under autocast each product's weights are copied to bf16.
    tied = bool(getattr(text, "tie_word_embeddings", False))
    copies = 2 * (model.num_parameters() - embeddings * (1 if tied else 2)) if precision == "bf16" else 0
    # Half of the tokens are answers. Gradients take their logits' place, a few at a time in fp32; on the fast path
    # there is a part of the logits at once, with that part's gradient of the head's weights.
    labels = min(tokens // 2, max(1, LOGITS_AT_ONCE // text.vocab_size)) if packs else tokens // 2
    head = embeddings * ((2 if precision == "bf16" else 0) + (width if packs else 0))
    return {
        "activations": tokens * _kept_bytes(model, precision, packs, device) + copies,
        "logits": labels * text.vocab_size * width + 8 * AT_ONCE[device.type] + head,
    }


def _kept_bytes(model: PreTrainedModel, precision: str, packs: bool, device: torch.device) -> int:
    """Of one token, by all layers."""
    text = model.config.get_text_config()
    # A model without attention, such as Mamba, has no heads: its mixer is counted as one head's.
    hidden, heads = text.hidden_size, getattr(text, "num_attention_heads", None) or 1
    inner = getattr(text, "intermediate_size", None) or 4 * hidden
    head = getattr(text, "head_dim", None) or hidden // heads
    queries, keys = heads * head, (getattr(text, "num_key_value_heads", None) or heads) * head
    norms = [
        each.numel()
        for module in model.modules()
        if "Norm" in type(module).__name__ and isinstance(each := getattr(module, "weight", None), torch.Tensor)
    ]
    per_hidden, per_norm, per_inner, per_query, per_key = KEPT_BYTES[precision]
    if packs:
        on_cpu = CPU_ATTENTION if device.type == "cpu" else (0, 0)
        per_query, per_key = per_query + on_cpu[0], per_key + on_cpu[1] + SHARED_PREFIX
    if any(norm != hidden for norm in norms):
        per_query, per_key = per_query + QUERY_NORM, per_key + QUERY_NORM
    layer = per_hidden * hidden + per_inner * inner + per_query * queries + per_key * keys
    return int(text.num_hidden_layers * layer + per_norm * sum(norm for norm in norms if norm == hidden))


def published_config(base: str) -> tuple[str, PreTrainedConfig] | None:
    """The published LLaMA that a base's name names, and its config; None for any other name."""
    named = re.search(r"llama.*?(\d+)b(?![a-z])", base.lower())
    if not named or named[1] not in PUBLISHED_LLAMAS:
        return None
    hidden, layers, heads, kv_heads, inner, vocabulary = PUBLISHED_LLAMAS[named[1]]
    config = LlamaConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=inner,
        vocab_size=vocabulary,
    )
    return f"LLaMA {named[1]}B", config


def _shapes(base: str, config: PreTrainedConfig | None) -> tuple[PreTrainedConfig, PreTrainedModel]:
    """A base on the meta device, where it has shapes and no storage."""
    try:
        config = config or AutoConfig.from_pretrained(resolve_model(base))
        with torch.device("meta"):
            return config, AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    except PacosError:
        raise
    # Every kind of model finds its own words and classes for what is wrong with its configuration.
    except Exception as error:
        raise PacosError(
            f"train.base {base}: its config.json cannot be used ({' '.join(str(error).split())[:160]}); "
            "expected a Hugging Face causal LM. Check the path or the name."
        ) from error
