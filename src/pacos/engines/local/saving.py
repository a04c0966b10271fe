"""A model becomes a checkpoint like its base: the base's own tensor names, and one truth about its special tokens."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.core_model_loading import revert_weight_conversion

from pacos.core.files import read_json

TYPES = {torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int32: "I32", torch.int64: "I64"}
SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
# How transformers lists the keys of a generation config that it refuses to save.
REFUSED_KEY = re.compile(r"^- `(\w+)`:", re.MULTILINE)


def stored_tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Every weight once by its name in the module, tied ones by their first, and saved buffers."""
    named = dict(model.named_parameters(remove_duplicate=False))
    names: dict[int, list[str]] = {}
    for name, parameter in named.items():
        names.setdefault(id(parameter), []).append(name)
    tied = model.all_tied_weights_keys
    kept = [next((name for name in same if name not in tied), same[0]) for same in names.values()]
    buffers = {name: tensor for name, tensor in model.state_dict().items() if name not in named}
    tensors: dict[str, torch.Tensor] = {**{name: named[name] for name in kept}, **buffers}
    return {name: tensor for name, tensor in tensors.items() if name not in (model._keys_to_ignore_on_save or ())}


def names_in(folder: Path) -> frozenset[str]:
    """The tensor names in a checkpoint's files, safetensors or from before it; none where there are no weights."""
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        whole = folder / index.removesuffix(".index.json")
        if whole.exists() and whole.suffix == ".safetensors":
            with safe_open(whole, "pt") as file:
                return frozenset(file.keys())
        if whole.exists():
            return frozenset(torch.load(whole, map_location="meta", weights_only=True))
        if (folder / index).exists():
            return frozenset(read_json(folder / index, "weights index")["weight_map"])
    return frozenset()


@dataclass(frozen=True)
class Layout:
    """How a module's tensors lie in a checkpoint: `alone` by the module's name for those that are stored whatever the
    others are, `together` for those made of several; shapes by stored name, as meta tensors."""

    model: PreTrainedModel
    base_names: frozenset[str]
    alone: dict[str, dict[str, torch.Tensor]]
    together: dict[str, torch.Tensor]

    def stored(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Tensors by their names in the checkpoint, split or fused as they are there."""
        return _stored(self.model, tensors, self.base_names)


def layout_like(model: PreTrainedModel, folder: Path) -> Layout:
    """The layout of the base in `folder`, from which `model` was loaded; ValueError where its tensors cannot be made
    what they were in its files."""
    names = names_in(folder)
    # As shapes alone: what is split or fused is known without reading a weight.
    shapes = {name: torch.empty(tensor.shape, device="meta") for name, tensor in stored_tensors(model).items()}
    try:
        wanted = _stored(model, shapes, names)
        made = {name: _made_alone(model, name, shape, names, wanted) for name, shape in shapes.items()}
        claims = Counter(stored for each in made.values() for stored in each)
        alone = {name: each for name, each in made.items() if each and all(claims[stored] == 1 for stored in each)}
        taken = {stored for each in alone.values() for stored in each}
        together = {stored: shape for stored, shape in wanted.items() if stored not in taken}
        rest = _stored(model, {name: shape for name, shape in shapes.items() if name not in alone}, names)
        if {name: shape.shape for name, shape in rest.items()} != {name: s.shape for name, s in together.items()}:
            raise ValueError(f"{min(rest.keys() ^ together.keys(), default='a tensor')} depends on others")
    except (ValueError, KeyError, TypeError, RuntimeError, IndexError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"its tensors cannot be saved as they are in its files: {reason}") from error
    return Layout(model, names, alone, together)


def _stored(
    model: PreTrainedModel, tensors: dict[str, torch.Tensor], base_names: frozenset[str]
) -> dict[str, torch.Tensor]:
    """The library's own way back to the checkpoint's names, and the base's prefix where it has one more or less."""
    named = {}
    for name, tensor in revert_weight_conversion(model, tensors).items():
        prefix = f"{model.base_model_prefix}."
        variants = (name, name.removeprefix(prefix), prefix + name)
        named[next((variant for variant in variants if variant in base_names), name)] = tensor
    return named


def _made_alone(
    model: PreTrainedModel, name: str, shape: torch.Tensor, base_names: frozenset[str], wanted: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """What is stored of one tensor; nothing where that takes others beside it."""
    try:
        made = _stored(model, {name: shape}, base_names)
    except (ValueError, KeyError, TypeError, RuntimeError, IndexError, AttributeError):
        return {}
    whole = all(stored in wanted and wanted[stored].shape == each.shape for stored, each in made.items())
    return made if whole else {}


def write_weights(layout: Layout, path: Path, whole: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Writes a safetensors file one tensor at a time, floats in fp32; `whole` gives a tensor's values on the CPU."""
    tensors = stored_tensors(layout.model)
    # Those that have no part in a conversion of several come first, in the module's order.
    order = [name for name in tensors if name in layout.alone]
    entries = [(stored, shape, tensors[name]) for name in order for stored, shape in layout.alone[name].items()]
    others = [tensor for name, tensor in tensors.items() if name not in layout.alone]
    entries += [(stored, shape, others[0]) for stored, shape in layout.together.items()]
    with open(path, "wb") as file:
        file.write(_header((stored, tuple(shape.shape), kind.dtype) for stored, shape, kind in entries))
        parts: dict[str, torch.Tensor] = {}
        for name, tensor in tensors.items():
            value = whole(tensor)
            if name in layout.alone:
                _write(layout.stored({name: value}), layout.alone[name], file)
            else:
                parts[name] = value
        if parts:
            _write(layout.stored(parts), layout.together, file)


def write_tensors(tensors: dict[str, torch.Tensor], path: Path, whole: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """The same for tensors under the names that they are given."""
    with open(path, "wb") as file:
        file.write(_header((name, tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()))
        for name, tensor in tensors.items():
            _write({name: whole(tensor)}, {name: tensor}, file)


def _header(entries: Iterator[tuple[str, tuple[int, ...], torch.dtype]]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape, dtype in entries:
        kept = dtype if dtype in TYPES else torch.float32
        start, end = end, end + kept.itemsize * torch.Size(shape).numel()
        header[name] = {"dtype": TYPES.get(dtype, "F32"), "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write(tensors: dict[str, torch.Tensor], order: dict[str, torch.Tensor], file: IO[bytes]) -> None:
    for name in order:
        value = tensors[name]
        value = value if value.dtype in TYPES else value.float()
        file.write(value.contiguous().view(-1).view(torch.uint8).numpy().data)


def describe(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Makes the model's configs say what is saved: weights in fp32, its class, and the tokenizer's bos, eos and pad,
    with which it was trained."""
    model.config.dtype = torch.float32
    # Servers choose their own code by it; sharding has given the class another name.
    model.config.architectures = [type(model).__name__.removeprefix("FSDP")]
    for name in SPECIAL_IDS:
        value = getattr(tokenizer, name)
        for config in (model.config, model.config.get_text_config(), model.generation_config):
            if config is not None:
                setattr(config, name, value)


def mend_generation_config(model: PreTrainedModel) -> list[str]:
    """Unsets the keys for which transformers would refuse to save the generation config; their names.

    ValueError where it is refused for anything else.
    """
    config = model.generation_config
    if config is None:
        return []
    try:
        config.validate(strict=True)
        return []
    except ValueError as error:
        refused = REFUSED_KEY.findall(str(error))
        if not refused:
            raise
    for key in refused:
        setattr(config, key, None)
    config.validate(strict=True)
    return cast(list[str], refused)


@torch.no_grad()
def fixed_logits(model: torch.nn.Module, vocabulary: int, device: torch.device) -> torch.Tensor:
    """The logits [1, 32, V] at fixed token ids, by which a saved model is compared with what it was made of."""
    model.train(False)
    ids = (torch.arange(32) * 37 % min(211, vocabulary)).unsqueeze(0).to(device)
    return cast(torch.Tensor, model(ids, use_cache=False).logits.float().cpu())


def distance(folder: Path, expected: torch.Tensor) -> tuple[float, float]:
    """Loads a saved model in fp32 as anyone would: how far its logits are from `fixed_logits`, and these from 0."""
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    logits = fixed_logits(loaded, loaded.config.get_text_config().vocab_size, torch.device("cpu"))
    return float((logits - expected).abs().max()), float(expected.abs().max())
