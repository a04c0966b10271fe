"""A loaded checkpoint: model, tokenizer, and what a prompt becomes for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from threading import Lock
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from pacos.core.errors import PacosError
from pacos.core.free_memory import free_memory_bytes
from pacos.core.models import resolve_model
from pacos.engines.local.device import choose_device, choose_precision
from pacos.engines.local.lean_network import LeanNetwork
from pacos.engines.local.linear import int8_refusal
from pacos.engines.local.module_network import ModuleNetwork
from pacos.engines.local.network import Network
from pacos.engines.local.tokenizer import load_tokenizer, prompt_ids
from pacos.engines.types import Request

ADAPTERS = "adapter_config.json"
# Architectures that have a network of ours.
LEAN = frozenset({"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"})
# Frequencies that depend on a position alone, and not on how long the text has become.
STEADY_ROPES = frozenset({"default", "linear", "llama3", "yarn"})


# transformers replaces methods of its classes while it loads, and puts back what it found: two loads at once leave the
# replacements there for good, and no head is ever tied to its embedding again.
_LOADING = Lock()


@dataclass(frozen=True)
class Checkpoint:
    """A model ready to decode; `context_tokens` is the most that prompt and reply may have together."""

    network: Network
    tokenizer: PreTrainedTokenizerBase
    end_ids: frozenset[int]
    context_tokens: int
    vocabulary: int

    def prompt_ids(self, request: Request, as_chat: bool = False) -> list[int]:
        """The request's own ids, or the tokens of its prompt.

        PacosError for a chat where there is no template, for an empty prompt, and for ids outside the vocabulary, also
        in a logit bias.
        """
        ids = list(map(index, request.prompt_ids)) or prompt_ids(self.tokenizer, request.prompt, as_chat)
        if not ids:
            raise PacosError("the prompt is empty; expected at least one token to go on from.")
        # A tokenizer may know more tokens than its model, too.
        for place, token in enumerate(ids):
            if not 0 <= token < self.vocabulary:
                raise PacosError(f"token id {token} at place {place} of the prompt; {self._known_range}.")
        if unknown := [token for token, _ in request.sampling.logit_bias if not 0 <= token < self.vocabulary]:
            raise PacosError(f"logit_bias has token id {unknown[0]}; {self._known_range}.")
        return ids

    @property
    def _known_range(self) -> str:
        return f"this checkpoint has ids 0 to {self.vocabulary - 1:,}"


def load_checkpoint(path: str, precision: str) -> Checkpoint:
    """Loads weights and tokenizer on this machine's device; PacosError where they cannot be read.

    `precision` is auto, fp32 or bf16, or int8: matrices in 8 bits, all else as auto has it.
    """
    in_int8 = precision == "int8"
    model, tokenizer = load_module(path, "auto" if in_int8 else precision)
    config = model.config.get_text_config()
    try:
        network = make_network(model, in_int8)
    except ValueError as error:
        raise PacosError(f"{path}: this engine cannot run it ({error}).") from error
    return Checkpoint(
        network,
        tokenizer,
        _end_ids(model, tokenizer),
        context_tokens(config, is_lean=isinstance(network, LeanNetwork)),
        int(config.vocab_size),
    )


def load_module(path: str, precision: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model library's own module, whose weights take no gradient, and the tokenizer, on this machine's device.

    `precision` is auto, fp32 or bf16. PacosError where they cannot be read.
    """
    disable_progress_bar()  # type: ignore[no-untyped-call]
    device = choose_device()
    dtype = torch.bfloat16 if choose_precision(precision, device) == "bf16" else torch.float32
    try:
        tokenizer = load_tokenizer(resolve_model(path))
        with _LOADING:
            model, info = cast(
                Any, AutoModelForCausalLM.from_pretrained(resolve_model(path), dtype=dtype, output_loading_info=True)
            )
        if info["missing_keys"]:
            raise ValueError(f"its files lack {min(info['missing_keys'])}, which would be random numbers")
    except PacosError:
        raise
    except Exception as error:  # a damaged file is met by whichever library reads it, in its own words
        reason = " ".join(str(error).split())[:160]
        raise PacosError(f"{path}: not a checkpoint that can be loaded ({reason}). Check the path or name.") from error
    if (Path(path) / ADAPTERS).exists() and (Path(path) / "generation_config.json").exists():
        # The library reads the base's, which may not know what ends a student's answer.
        model.generation_config = GenerationConfig.from_pretrained(path)
    model.to(device).requires_grad_(False)
    model.train(False)
    return model, tokenizer


def prompt_lengths(path: str, prompts: Sequence[str], as_chat: bool) -> tuple[list[int], int] | None:
    """Each prompt's tokens and the checkpoint's context, without its weights; None where it cannot be read.

    Raises PacosError for a chat where there is no template.
    """
    folder = resolve_model(path)
    try:
        tokenizer, config = load_tokenizer(folder), AutoConfig.from_pretrained(folder)
    except (OSError, ValueError):
        # What is wrong with it is said when it is loaded.
        return None
    lengths = [len(prompt_ids(tokenizer, prompt, as_chat)) for prompt in prompts]
    return lengths, context_tokens(config.get_text_config())


def make_network(model: PreTrainedModel, in_int8: bool = False) -> Network:
    """The lean network where the architecture has one, else the module itself. The lean one takes the weights away.

    With `in_int8` it holds matrices in 8 bits; ValueError where that cannot be.
    """
    if in_int8 and (refusal := int8_refusal(model.device)):
        raise ValueError(refusal)
    # An adapter, or a quantized layer, stands where a plain matrix is expected.
    plain = all(type(layer) is torch.nn.Linear for name, layer in model.named_modules() if name.endswith("_proj"))
    config = model.config
    ropes = getattr(config, "rope_parameters", None) or {}
    kinds = [ropes] if "rope_type" in ropes else [rope for rope in ropes.values() if rope]
    steady = all(rope.get("rope_type", "default") in STEADY_ROPES for rope in kinds)
    if config.model_type in LEAN and plain and steady and not getattr(config, "use_bidirectional_attention", False):
        return LeanNetwork(model, in_int8)
    if in_int8:
        raise ValueError(
            f'architecture {config.model_type} is run by its own module, in its own weights; set weights = "auto"'
        )
    return ModuleNetwork(model)


def cache_budget(device: torch.device) -> int:
    """Bytes that keys and values of all rows together may take: half of what is free when the weights are loaded."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory_bytes()
    return int(free) // 2


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    listed = model.generation_config.eos_token_id if model.generation_config else None
    ids = [*(listed if isinstance(listed, list) else [listed]), tokenizer.eos_token_id]
    return frozenset(i for i in ids if i is not None)


def context_tokens(config: Any, is_lean: bool = True) -> int:
    """The most tokens that prompt and reply may have together."""
    # The library's own module is told to attend to all that came before, so a sliding window is as far as it is exact.
    names = ("max_position_embeddings",) if is_lean else ("max_position_embeddings", "sliding_window")
    return min((limit for name in names if (limit := getattr(config, name, None))), default=2**31)
