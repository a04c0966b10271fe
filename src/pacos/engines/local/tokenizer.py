"""A checkpoint's tokenizer, LLaMA's bare `tokenizer.model` included."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

from jinja2 import TemplateError
from sentencepiece import SentencePieceProcessor
from tokenizers import normalizers
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from pacos.core.errors import PacosError
from pacos.core.prompts import render_prompt
from pacos.core.special_tokens import PRIVATE_USE, control_tokens, pattern_of
from pacos.engines.types import Message

CONTEXT_TOKENS = 6


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """A folder's or hub name's tokenizer. LLaMA's bare `tokenizer.model` becomes a fast one with sentencepiece's ids.

    transformers 5.23 asks for tiktoken there, or with protobuf installed takes no account of the pieces' scores, so
    that two spaces become other tokens than the base was trained on.
    """
    file = Path(path) / "tokenizer.model"
    if not file.exists() or (file.parent / "tokenizer.json").exists():
        return cast(PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(path))
    read = SentencePieceProcessor(model_file=str(file))
    pieces = [read.id_to_piece(number) for number in range(len(read))]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    scores = [read.get_score(number) for number in range(len(read))]
    merged = [not (read.is_control(n) or read.is_unknown(n) or read.is_byte(n)) for n in range(len(read))]
    llama = LlamaTokenizer(vocab=vocabulary, merges=merges_of(pieces, scores, merged), add_bos_token=True)
    fast = llama.backend_tokenizer
    # Every text begins with a space of sentencepiece's own, even one that begins with a space.
    fast.normalizer, fast.pre_tokenizer = (
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        None,
    )
    ids = {"bos": read.bos_id(), "eos": read.eos_id(), "unk": read.unk_id()}
    names = {f"{name}_token": pieces[number] for name, number in ids.items() if number >= 0}
    return PreTrainedTokenizerFast(tokenizer_object=fast, **names)  # type: ignore[no-untyped-call]


def takes_conversation(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the checkpoint is to be asked by its chat template: it has one, and not Alpaca's prompt in other clothes,
    as a student of single instructions has."""
    if not tokenizer.chat_template:
        return False
    turn = [{"role": "user", "content": "x"}]
    rendered = str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
    return render_prompt("x") not in rendered


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str | tuple[Message, ...],
    as_chat: bool = False,
    *,
    parse_special_tokens: bool = True,
) -> list[int]:
    """The tokens of a raw text, or of a chat as the tokenizer's own template renders it; PacosError without one.

    With `as_chat` a text is a user's message. A special token's name is that token in a raw text, unless it is not to
    be parsed, and never in a chat's messages: nobody writes a system prompt, or ends a turn, from within his own.
    """
    if as_chat and isinstance(prompt, str):
        prompt = (Message("user", prompt),)
    for text in [prompt] if isinstance(prompt, str) else [message.content for message in prompt]:
        _check_text(text)
    if isinstance(prompt, str):
        options = {} if parse_special_tokens else {"split_special_tokens": True}
        ids = cast(list[int], tokenizer(prompt, **options)["input_ids"])
        # A tokenizer that closes every text would end the reply before it began.
        return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids
    if tokenizer.chat_template is None:
        raise PacosError('this checkpoint has no chat template; set api = "completions" to send it raw text.')
    said = "".join(message.content for message in prompt)
    # Each special token in the messages is a private character while the template writes its own.
    free = (chr(code) for code in PRIVATE_USE if chr(code) not in said)
    hidden = dict(zip(sorted({*_special_tokens(tokenizer).findall(said)}, key=len, reverse=True), free, strict=False))
    turns = [{"role": message.role, "content": message.content} for message in prompt]
    for turn in turns:
        for token, placeholder in hidden.items():
            turn["content"] = turn["content"].replace(token, placeholder)
    try:
        rendered = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except (TemplateError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise PacosError(f"the checkpoint's chat template refuses this conversation ({reason}).") from None
    tokens_of = {placeholder: token for token, placeholder in hidden.items()}
    pieces = re.split(f"([{''.join(tokens_of)}])", rendered) if hidden else [rendered]
    return [
        number
        for piece in pieces
        for number in cast(
            list[int],
            tokenizer(tokens_of.get(piece, piece), add_special_tokens=False, split_special_tokens=piece in tokens_of)[
                "input_ids"
            ],
        )
    ]


def continued(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], begun: str) -> list[int]:
    """A prompt's ids and those of an answer begun, as the model writes it after the prompt's end: some tokenizers begin
    every text with a space."""
    tail = list(ids[-CONTEXT_TOKENS:])
    before = str(tokenizer.decode(tail, skip_special_tokens=True, clean_up_tokenization_spaces=False))
    alone, whole = _text_ids(tokenizer, before), _written_ids(tokenizer, before + begun)
    return [*ids, *(whole[len(alone) :] if whole[: len(alone)] == alone else _written_ids(tokenizer, begun))]


def _written_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of a text that goes on: line ends at a text's own end become one token, before a word they do not."""
    if not text.endswith("\n"):
        return _text_ids(tokenizer, text)
    followed = _text_ids(tokenizer, f"{text}x")
    is_apart = tokenizer.decode(followed[-1:], clean_up_tokenization_spaces=False) == "x"
    return followed[:-1] if is_apart else _text_ids(tokenizer, text)


def _text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of a text in which special tokens are characters like any others."""
    return cast(list[int], tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


@lru_cache(maxsize=8)
def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    return pattern_of(control_tokens(tokenizer))


def _check_text(text: str) -> None:
    """PacosError for half a surrogate pair, which JSON can spell and no tokenizer reads."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PacosError(
            f"character {error.start:,} of the prompt, {text[error.start]!a}, is half a surrogate pair and no "
            "text; leave it out."
        ) from None


def merges_of(pieces: Sequence[str], ranks: Sequence[float], merged: Sequence[bool]) -> list[tuple[str, str]]:
    """The merges, best first, that sentencepiece's BPE makes of `merged` pieces: the highest rank is merged first."""
    known = frozenset(pieces)
    merges = [
        (rank, piece[:cut], piece[cut:])
        for piece, rank, is_merged in zip(pieces, ranks, merged, strict=True)
        if is_merged
        for cut in range(1, len(piece))
        if piece[:cut] in known and piece[cut:] in known
    ]
    merges.sort(key=lambda merge: (merge[0], len(merge[1]), len(merge[2])), reverse=True)
    return [(left, right) for _, left, right in merges]
