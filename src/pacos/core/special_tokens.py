"""Special tokens that stand in texts: a tokenizer that parses them would make control ids of them."""

import re
from collections.abc import Iterable
from typing import Any

# Of the models that people train: LLaMA, Mistral, Alpaca's padding, ChatML and its kin, Gemma, DeepSeek.
WELL_KNOWN = re.compile(
    r"</?s>|<(?:unk|pad|bos|eos|mask)>|\[(?:PAD|UNK|BOS|EOS)\]|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|<\|[^\s|<>]{1,40}\|>|<｜[^\s｜<>]{1,40}｜>"
)


# Characters that texts rarely have: one may stand for a special token while a chat template is at work.
PRIVATE_USE = range(0xE000, 0xF900)


def pattern_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Finds any of these tokens in a text, the longest first where one begins another; nothing where there are none."""
    listed = sorted(filter(None, set(tokens)), key=lambda token: (-len(token), token))
    if not listed:
        return re.compile(r"(?!)")
    # Some bases have thousands: they are tried only where a first character of one stands.
    first = "".join(sorted({re.escape(token[0]) for token in listed}))
    return re.compile(f"(?=[{first}])(?:{'|'.join(map(re.escape, listed))})")


def control_tokens(tokenizer: Any) -> dict[str, int]:
    """The ids by token of those that a transformers tokenizer has for no text: its special ones, and what it calls
    added but looks like one."""
    added = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items()}
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids = {token: number for number, token in added.items() if number in special or WELL_KNOWN.fullmatch(token)}
    return {token: tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens} | ids
