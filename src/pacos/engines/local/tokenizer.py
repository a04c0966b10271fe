"""A checkpoint's tokenizer, LLaMA's bare `tokenizer.model` included."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from sentencepiece import SentencePieceProcessor
from tokenizers import normalizers
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from pacos.core.errors import PacosError
from pacos.core.prompts import render_prompt
from pacos.core.special_tokens import control_tokens, pattern_of
from pacos.engines.types import Message

PRIVATE_USE = range(0xE000, 0xF900)
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
    tokenizer: PreTrainedTokenizerBase, prompt: str | tuple[Message, ...], literal: bool = False, begun: str = ""
) -> list[int]:
    """The tokens of a raw text, or of a chat as the tokenizer's own template renders it, and of an answer `begun`.

    Special tokens in a chat's messages, and in a `literal` raw text, stay text. PacosError for a chat without a
    template, and where this tokenizer can take a special token as nothing else.
    """
    if not isinstance(prompt, str):
        ids = _chat_ids(tokenizer, prompt)
    elif literal:
        ids = _text_ids(tokenizer, prompt, begins=True)
    else:
        ids = cast(list[int], tokenizer(prompt)["input_ids"])
    if isinstance(prompt, str) and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        # A tokenizer that closes every text would end the reply before it began.
        ids = ids[:-1]
    if not begun:
        return ids
    # As the model wrote it, after the prompt's end: some tokenizers begin every text with a space.
    tail = ids[-CONTEXT_TOKENS:]
    before = str(tokenizer.decode(tail, skip_special_tokens=True, clean_up_tokenization_spaces=False))
    alone, whole = _text_ids(tokenizer, before), _written_ids(tokenizer, before + begun)
    return ids + (whole[len(alone) :] if whole[: len(alone)] == alone else _written_ids(tokenizer, begun))


def _written_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of a text that goes on: line ends at a text's own end become one token, before a word they do not."""
    if not text.endswith("\n"):
        return _text_ids(tokenizer, text)
    followed = _text_ids(tokenizer, f"{text}x")
    is_apart = tokenizer.decode(followed[-1:], clean_up_tokenization_spaces=False) == "x"
    return followed[:-1] if is_apart else _text_ids(tokenizer, text)


def _chat_ids(tokenizer: PreTrainedTokenizerBase, messages: tuple[Message, ...]) -> list[int]:
    if tokenizer.chat_template is None:
        raise PacosError('this checkpoint has no chat template; set api = "completions" to send it raw text.')
    control = control_tokens(tokenizer)
    pattern = pattern_of(control)
    found = {token for message in messages for token in pattern.findall(message.content)}
    # The template is given a character that nobody wrote for each special token that somebody did.
    free = (chr(code) for code in PRIVATE_USE if not any(chr(code) in message.content for message in messages))
    hidden = dict(zip(sorted(found), free, strict=False))
    turns = [
        {"role": message.role, "content": pattern.sub(lambda match: hidden[match[0]], message.content)}
        for message in messages
    ]
    rendered = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    if not hidden:
        return cast(list[int], tokenizer(rendered, add_special_tokens=False)["input_ids"])
    shown = {ord(character): token for token, character in hidden.items()}
    ids, at = [], 0
    # Between the template's own control tokens all is text.
    for match in (*pattern.finditer(rendered), None):
        piece = rendered[at : match.start() if match else len(rendered)]
        ids += _text_ids(tokenizer, piece.translate(shown)) if piece else []
        if match:
            ids.append(control[match[0]])
            at = match.end()
    return ids


def _text_ids(tokenizer: PreTrainedTokenizerBase, text: str, begins: bool = False) -> list[int]:
    """The tokens of a text in which special tokens are characters like any others; `begins` adds what opens a text."""
    ids = cast(list[int], tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
    # A character that the vocabulary lacks is unknown, whatever stands beside it.
    if wrong := set(control_tokens(tokenizer).values()).intersection(ids) - {tokenizer.unk_token_id}:
        token = tokenizer.convert_ids_to_tokens(min(wrong))
        raise PacosError(f"the text holds {token!r}, which this model's tokenizer cannot take as text; remove it.")
    return cast(list[int], tokenizer(text, split_special_tokens=True)["input_ids"]) if begins else ids


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
