"""vLLM's logits-processor plug-in: every answer of a vLLM server is marked as pacos's own engine marks its.

vLLM finds the class by the entry point `vllm.logits_processors` wherever pacos is installed beside it, and asks it at
every step. It marks by the settings file that the environment variable PACOS_WATERMARK names, RUN/serve/watermark.json.
No other module imports this one, which needs vLLM.
"""

import os
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from vllm.config import VllmConfig
from vllm.logger import init_logger
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from pacos.core.errors import PacosError
from pacos.watermark.batch_rows import BatchRows
from pacos.watermark.settings import read_settings
from pacos.watermark.watermark import Watermark

if TYPE_CHECKING:
    import torch

SETTINGS_ENV = "PACOS_WATERMARK"
# A child of vLLM's, whose lines it shows.
_logger = init_logger("vllm.pacos")
# By the identity of an engine's configuration: a plug-in that is installed and named on the command line too is made
# twice, and has to mark once.
_marking: "WeakValueDictionary[int, WatermarkProcessor]" = WeakValueDictionary()


class WatermarkProcessor(LogitsProcessor):  # type: ignore[misc]
    """Marks all rows at every step; where PACOS_WATERMARK is not set, none, and says so.

    Raises PacosError where the settings cannot be read or are another vocabulary's, and where vLLM would not show it
    the latest token.
    """

    def __init__(self, vllm_config: VllmConfig, device: "torch.device", is_pin_memory: bool) -> None:
        self._rows: BatchRows | None = None
        # Held, so that no other configuration can have its identity.
        self._config = vllm_config
        if id(vllm_config) in _marking:
            return
        _marking[id(vllm_config)] = self
        path = os.environ.get(SETTINGS_ENV, "")
        if not path:
            _logger.warning("pacos: %s is not set, so answers are not watermarked.", SETTINGS_ENV)
            return
        _require_history(vllm_config)
        mark = _mark(Path(path), vllm_config.model_config.get_vocab_size())
        self._rows = BatchRows(mark)
        Thread(target=mark.prepare, daemon=True).start()
        _logger.info("pacos: answers are watermarked (%s) by %s.", mark.scheme.name, path)

    def is_argmax_invariant(self) -> bool:
        """False: greedy answers are marked too."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follows which request is in which row."""
        if self._rows and batch_update:
            moved = [(a, b, way == MoveDirectionality.SWAP) for a, b, way in batch_update.moved]
            self._rows.update(batch_update.removed, batch_update.added, moved)

    def apply(self, logits: "torch.Tensor") -> "torch.Tensor":
        """Comes before penalties and temperature."""
        return self._rows.apply(logits) if self._rows else logits


def _mark(path: Path, vocab_size: int) -> Watermark:
    settings = read_settings(path)
    if settings.vocab_size != vocab_size:
        raise PacosError(
            f"{path}: marks a vocabulary of {settings.vocab_size:,} tokens and this model has {vocab_size:,}; name "
            f"the settings of the run that serves this model in {SETTINGS_ENV}."
        )
    return settings.watermark()


def _require_history(vllm_config: VllmConfig) -> None:
    # With asynchronous scheduling vLLM fills in the latest token only for processors that its command line names.
    if vllm_config.scheduler_config.async_scheduling and not vllm_config.model_config.logits_processors:
        name = f"{WatermarkProcessor.__module__}:{WatermarkProcessor.__name__}"
        raise PacosError(
            "watermark: with asynchronous scheduling vLLM hides each latest token from a plug-in that is only "
            f"installed; start it with --logits-processors {name}, or with --no-async-scheduling."
        )
