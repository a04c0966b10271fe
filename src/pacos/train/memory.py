"""How much memory training will take, from the base's config.json alone."""

from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from pacos.core.errors import PacosError
from pacos.core.models import resolve_model
from pacos.core.recipe import TrainTable
from pacos.train.checkpoint import KEPT
from pacos.train.loop import ROW_TOKENS

# Tensors that a decoder layer keeps for its backward pass, in widths of the hidden and of the MLP's inner state:
# two norms, queries, keys and values, attention's output, two residuals; gate, its activation, up, their product.
# Counted on LLaMA models, where this lies within a tenth.
HIDDEN_KEPT = 12
INNER_KEPT = 4
FP32_BYTES = 4


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that training holds at its peak, by what holds them."""

    parameters: int
    row_tokens: int
    weights: int
    gradients: int
    optimizer_state: int
    activations: int
    logits: int
    disk: int
    """Checkpoints and the final model, in the run folder."""

    @property
    def total(self) -> int:
        """All that must be in the device's memory at once."""
        return self.weights + self.gradients + self.optimizer_state + self.activations + self.logits


def estimate_memory(table: TrainTable, device_type: str, precision: str) -> MemoryEstimate:
    """Estimates a recipe's training; reads config.json and no weights. PacosError where that cannot be read."""
    config = _config(table.base)
    # On the meta device a model has shapes and no storage.
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    parameters = model.num_parameters()
    tokens = min(table.batch_size * table.max_length, max(ROW_TOKENS[device_type], table.max_length))
    text = config.get_text_config()
    inner = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    kept = HIDDEN_KEPT * text.hidden_size + INNER_KEPT * inner
    # Under autocast norms and residuals stay fp32 while products are bf16, and so is a copy of the weights.
    activation_bytes = FP32_BYTES if precision == "fp32" else 3
    weight_copies = 0 if precision == "fp32" else parameters * 2
    weights = parameters * FP32_BYTES
    return MemoryEstimate(
        parameters=parameters,
        row_tokens=tokens,
        weights=weights,
        gradients=weights,
        optimizer_state=2 * weights,
        activations=tokens * text.num_hidden_layers * kept * activation_bytes + weight_copies,
        # Logits, their fp32 copy and log-probabilities, and the gradient, at half of the tokens: the answers.
        logits=tokens // 2 * text.vocab_size * FP32_BYTES * 3,
        disk=(KEPT + 1) * 3 * weights + 2 * weights,
    )


def _config(base: str) -> PreTrainedConfig:
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(resolve_model(base))
        return config
    except (OSError, ValueError, KeyError) as error:
        raise PacosError(
            f"train.base {base}: its config.json cannot be used ({str(error).strip().splitlines()[0][:160]}); "
            "expected a Hugging Face causal LM. Check the path or the name."
        ) from error
