"""How many tokens prompts have for a checkpoint and how many it holds, without loading its weights."""

from collections.abc import Sequence

from transformers import AutoConfig

from pacos.core.models import resolve_model
from pacos.core.recipe import EngineTable
from pacos.engines.local.checkpoint import context_tokens
from pacos.engines.local.tokenizer import load_tokenizer, prompt_ids
from pacos.engines.types import Message


def tokens_and_room(table: EngineTable, prompts: Sequence[str]) -> tuple[list[int], int] | None:
    """Each prompt's tokens, and the most that prompt and reply may have together; None where it cannot be read.

    Raises PacosError where the table asks for a chat template that the checkpoint has not.
    """
    path = resolve_model(table.path)
    try:
        tokenizer, config = load_tokenizer(path), AutoConfig.from_pretrained(path)
    except (OSError, ValueError):
        # What is wrong with it is said when it is loaded.
        return None
    shown = [(Message("user", prompt),) if table.api == "chat" else prompt for prompt in prompts]
    return [len(prompt_ids(tokenizer, prompt)) for prompt in shown], context_tokens(config.get_text_config())
