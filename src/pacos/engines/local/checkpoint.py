"""A loaded checkpoint: model, tokenizer, and what a prompt becomes for them."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from pacos.core.errors import PacosError
from pacos.core.models import resolve_model
from pacos.engines.local import attention
from pacos.engines.local.device import choose_device, choose_precision
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.engines.types import Message

ADAPTERS = "adapter_config.json"


@dataclass(frozen=True)
class Checkpoint:
    """A model ready to decode; `context_tokens` is the most that prompt and reply may have together."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    end_ids: tuple[int, ...]
    context_tokens: int

    def prompt_ids(self, prompt: str | tuple[Message, ...]) -> list[int]:
        """Tokens of a raw text, or of a chat as the tokenizer's own template renders it.

        Raises PacosError for a chat where there is no template, and for an empty prompt.
        """
        if isinstance(prompt, str):
            ids = self.tokenizer(prompt)["input_ids"]
            # A tokenizer that closes every text would end the reply before it began.
            ids = ids[:-1] if len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id else ids
        else:
            ids = self.tokenizer(self._rendered(prompt), add_special_tokens=False)["input_ids"]
        if not ids:
            raise PacosError("the prompt is empty; expected at least one token to go on from.")
        return cast(list[int], ids)

    @property
    def cache_bytes_per_token(self) -> int:
        """Keys and values of one token of one row, over all layers, in fp32."""
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(2 * 4 * config.num_hidden_layers * heads * head_dim)

    def _rendered(self, messages: tuple[Message, ...]) -> str:
        if self.tokenizer.chat_template is None:
            raise PacosError("this checkpoint has no chat template; send it raw text, or serve a fine-tuned model.")
        turns = [{"role": message.role, "content": message.content} for message in messages]
        return cast(str, self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def load_checkpoint(path: str, precision: str) -> Checkpoint:
    """Loads weights and tokenizer on this machine's device; PacosError where they cannot be read."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    device = choose_device()
    dtype = torch.bfloat16 if choose_precision(precision, device) == "bf16" else torch.float32
    try:
        tokenizer = load_tokenizer(resolve_model(path))
        model = AutoModelForCausalLM.from_pretrained(resolve_model(path), dtype=dtype)
        if device.type == "cpu" and model._supports_sdpa:
            model.set_attn_implementation(attention.NAME)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:160]
        raise PacosError(f"{path}: not a checkpoint that can be loaded ({reason}). Check the path or name.") from error
    if (Path(path) / ADAPTERS).exists() and (Path(path) / "generation_config.json").exists():
        # The library reads the base's, which may not know what ends a student's answer.
        model.generation_config = GenerationConfig.from_pretrained(path)
    model.to(device).requires_grad_(False)  # type: ignore[arg-type]
    model.train(False)
    return Checkpoint(model, tokenizer, _end_ids(model, tokenizer), _context_tokens(model))


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    listed = model.generation_config.eos_token_id if model.generation_config else None
    ids = set(listed if isinstance(listed, list) else [listed]) | {tokenizer.eos_token_id}
    return tuple(sorted(i for i in ids if i is not None))


def _context_tokens(model: PreTrainedModel) -> int:
    # The decoder attends to all that came before, so a sliding window is as far as it is exact.
    limits = [getattr(model.config, name, None) for name in ("max_position_embeddings", "sliding_window")]
    return min((limit for limit in limits if limit), default=2**31)
