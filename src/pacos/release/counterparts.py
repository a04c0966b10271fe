"""Which of the base's tensors a student's tensor was made from, by the names that the model library gives them."""

import re
from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from pacos.release.safetensors_files import Tensor


def counterparts(ours: dict[str, Tensor], student: Path, theirs: dict[str, Tensor], base: Path) -> dict[str, Tensor]:
    """By name of the student's tensors those of the base that line up with them, where there is one.

    That of the same name comes first, then that which the model library loads into the same place: another prefix, an
    older name, the input embeddings for an output layer that is tied to them. The folders are the checkpoints'.
    """
    found = {name: theirs[name] for name, tensor in ours.items() if _lines_up(theirs.get(name), tensor)}
    left = [name for name in ours if name not in found]
    if not left:
        return found
    here, there = _Places(student), _Places(base)
    by_place = {there.of(name): tensor for name, tensor in theirs.items()}
    # Of two that are tied, the base may hold either or both.
    tied = {there.tied(name): tensor for name, tensor in theirs.items()}
    for name in left:
        for candidate in (by_place.get(here.of(name)), tied.get(here.tied(name))):
            if candidate and _lines_up(candidate, ours[name]):
                found[name] = candidate
                break
    return found


def _lines_up(theirs: Tensor | None, ours: Tensor) -> bool:
    return theirs is not None and theirs.lines_up_with(ours)


class _Places:
    """The parameters of a checkpoint's model that its tensors are loaded into, from its config.json alone."""

    def __init__(self, folder: Path) -> None:
        self.model = _shapes(folder)
        if self.model is None:
            return
        self.state = self.model.state_dict()
        transforms = get_model_conversion_mapping(self.model)
        self.renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
        self.converters = [each for each in transforms if isinstance(each, WeightConverter)]

    def of(self, name: str) -> str:
        """The parameter's name; the tensor's own where the library knows none, or makes one of several tensors."""
        if self.model is None:
            return name
        prefix = self.model.base_model_prefix
        place, fused = rename_source_key(name, self.renamings, self.converters, prefix, self.state)
        return name if fused or place not in self.state else place

    def tied(self, name: str) -> str:
        """The same, with the input embeddings' for an output layer that can be tied to them."""
        place = self.of(name)
        ties = getattr(self.model, "_tied_weights_keys", None)
        matching = (source for target, source in dict(ties or {}).items() if re.fullmatch(target, place))
        return next(matching, place)


def _shapes(folder: Path) -> PreTrainedModel | None:
    """A checkpoint's model without storage; None where transformers cannot make one of its config.json."""
    try:
        config = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)  # type: ignore[no-any-return, no-untyped-call]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError):
        return None


def share(found: Iterable[str], ours: dict[str, Tensor]) -> float:
    """The part of a student's bytes that has a counterpart."""
    sizes = {name: tensor.end - tensor.start for name, tensor in ours.items()}
    return sum(sizes[name] for name in found) / max(1, sum(sizes.values()))
