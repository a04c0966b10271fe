"""The base: a causal LM with its tokenizer, made ready to be trained."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.hub import cached_file
from transformers.utils.logging import disable_progress_bar

from pacos.core.errors import PacosError
from pacos.core.models import resolve_model
from pacos.core.recipe import LoraTable, TrainTable
from pacos.engines.local.saving import layout_like, mend_generation_config
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.train import attention
from pacos.train.data import PUBLISHED
from pacos.train.machine import out_of_memory
from pacos.train.optimizer import split

VOCABULARY_MULTIPLE = 64


@dataclass(frozen=True)
class LoadedBase:
    """What is trained, on the CPU in fp32 still; `packs` says whether by the fast path."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    packs: bool
    adapters: bool
    """Whether these alone are trained, beside the base's own weights."""
    folder: Path
    """Where its files lie."""
    unset: tuple[str, ...] = ()
    """Keys of its generation config that cannot be saved as they stand, and so are not in the student's."""


def load_base(table: TrainTable, weights: bool = True) -> LoadedBase:
    """Loads a base in fp32 and its tokenizer, with the mode's vocabulary and the recipe's adapters.

    Without `weights` it has shapes and no storage: another process shares its own out. Raises PacosError where the
    base is missing, cannot be read, has no end-of-text token, or fewer embeddings than tokens.
    """
    name, path, unset = table.base, resolve_model(table.base), list[str]()
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        tokenizer = load_tokenizer(path)
        config = AutoConfig.from_pretrained(path)
        packs = table.engine == "pacos" and getattr(config, "model_type", "") in attention.PACKABLE
        kind: dict[str, Any] = {"attn_implementation": attention.NAME} if packs else {}
        if weights:
            kind |= {"dtype": torch.float32, "output_loading_info": True}
            model, info = cast(Any, AutoModelForCausalLM.from_pretrained(path, config=config, **kind))
            if info["missing_keys"]:
                raise ValueError(f"its files lack {min(info['missing_keys'])}, which would be random numbers")
            if not packs and _sees_ahead(model):
                raise ValueError("it sees the tokens that it is to predict, so it would learn to copy them")
            embedded = cast(torch.nn.Embedding, model.get_input_embeddings()).weight
            if not embedded.sum().isfinite():
                # Of all weights only rows of these may meet no example, and so show in no loss.
                raise ValueError("its embeddings hold what is no number")
            # What could not be saved after training is mended, or refused before it.
            unset = mend_generation_config(model)
        else:
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **kind)  # type: ignore[no-untyped-call]
        folder = Path(str(cached_file(path, "config.json"))).parent
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        if out_of_memory(error):
            raise
        raise PacosError(
            f"train.base {name}: cannot be loaded ({' '.join(str(error).split())[:160]}); "
            "expected a Hugging Face causal LM with its tokenizer. Check the path or the name."
        ) from error
    if tokenizer.eos_token_id is None:
        raise PacosError(
            f"train.base {name}: its tokenizer has no end-of-text token, so answers could not learn to end; "
            "set eos_token in its tokenizer_config.json."
        )
    embeddings = cast(torch.nn.Embedding, model.get_input_embeddings()).num_embeddings
    if embeddings < len(tokenizer):
        raise PacosError(
            f"train.base {name}: its tokenizer has {len(tokenizer):,} tokens and its vocabulary {embeddings:,}; "
            "expected at least as many embeddings as tokens. Give the tokenizer the model was made with."
        )
    if table.lora:
        add_adapters(model, table.lora, path)
    else:
        grow_vocabulary(model, tokenizer, table.mode)
        if weights:
            _check_layout(name, model, folder)
    return LoadedBase(model, tokenizer, packs, table.lora is not None, folder, tuple(unset))


def _check_layout(name: str, model: PreTrainedModel, folder: Path) -> None:
    """PacosError where, after training, the model could not be saved as its files are."""
    try:
        layout_like(model, folder)
    except ValueError as error:
        raise PacosError(f"train.base {name}: {error}. Take another base, or train adapters: [train.lora].") from None


@torch.no_grad()
def _sees_ahead(model: PreTrainedModel) -> bool:
    """Whether a token moves the logits of those before it, as in an encoder that has a head for language models."""
    model.train(False)
    one, other = model(torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]]), use_cache=False).logits[:, :3]
    return not torch.allclose(one, other, atol=1e-4)


def has_dropout(model: PreTrainedModel) -> bool:
    """Whether training draws random numbers, so that a prefix computed once is not what it would be each time."""
    rates = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    return any(rates) or bool(getattr(model.config, "attention_dropout", 0.0))


def grow_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, mode: str) -> None:
    """`alpaca-2023` adds [PAD] where there is no padding token; `modern` fills the vocabulary up to a multiple of 64.
    New rows are the mean of the old ones, in the embeddings and the LM head."""
    rows = cast(torch.nn.Embedding, model.get_input_embeddings()).num_embeddings
    wanted = rows + -rows % VOCABULARY_MULTIPLE
    if mode == PUBLISHED:
        if tokenizer.pad_token is None:
            tokenizer.add_special_tokens({"pad_token": "[PAD]"})
        wanted = max(rows, len(tokenizer))
    if wanted == rows:
        return
    model.resize_token_embeddings(wanted, mean_resizing=False)
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):  # type: ignore[no-untyped-call]
        weight = cast(torch.nn.Linear, layer).weight.data
        weight[rows:] = weight[:rows].mean(0, keepdim=True)


def add_adapters(model: PreTrainedModel, table: LoraTable, path: str) -> None:
    """Puts peft's low-rank adapters beside every linear layer; only they are trained. PacosError without peft,
    and where it has none for such a model."""
    try:
        from peft import LoraConfig
    except ImportError:
        raise PacosError("[train.lora]: needs peft, which is not installed; pip install 'pacos[lora]'.") from None
    origin = os.path.abspath(path) if Path(path).is_dir() else path
    options: dict[str, Any] = {"target_modules": "all-linear", "base_model_name_or_path": origin}
    options |= {"r": table.rank, "lora_alpha": table.alpha, "lora_dropout": table.dropout}
    # A router of experts may be a kind of linear layer that returns more than a product.
    kinds = [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    if others := [name for name, module in kinds if type(module) is not torch.nn.Linear]:
        options["exclude_modules"] = others
    try:
        model.add_adapter(LoraConfig(task_type="CAUSAL_LM", **options))
    except ValueError as error:
        raise PacosError(
            f"train.base {path}: takes no adapters ({' '.join(str(error).split())[:160]}); train all of its weights, "
            "without [train.lora], or take another base."
        ) from error


def split_weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Makes the weights bf16 and returns by name what that leaves of their fp32 values, where these are trained."""
    remainders = {}
    for name, parameter in model.named_parameters():
        parameter.data, low = (bits.view(torch.bfloat16) for bits in split(parameter.data))
        if parameter.requires_grad:
            remainders[name] = low
    return remainders
