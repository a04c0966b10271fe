"""The tokenizer that a GGUF file describes: byte-level BPE, or sentencepiece's BPE, with its special tokens."""

from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from pacos.engines.gguf.gguf_file import GgufFile
from pacos.engines.local.tokenizer import merges_of

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
CONTROL, USER_DEFINED = 3, 4
# -1 as the file spells numbers: a conversion wrote that there is no such token.
NO_TOKEN = 2**32 - 1
# Kinds of pieces that sentencepiece does not put together from others: unknown, control, byte.
NOT_MERGED = (2, CONTROL, 6)
LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = ("llama3", "llama-v3", "llama-bpe")
SPLITS = {name: LETTERS % r"\p{N}{1,3}" for name in LLAMA3} | {"qwen2": LETTERS % r"\p{N}"}
PLAIN = ("default", "gpt-2", "gpt2")
NAMES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


def tokenizer_of(file: GgufFile) -> PreTrainedTokenizerFast:
    """The file's tokenizer as transformers loads it; PacosError where its kind is not known."""
    kind = file.value("tokenizer.ggml.model", str)
    pieces = file.value("tokenizer.ggml.tokens", list)
    types = file.value("tokenizer.ggml.token_type", list, [1] * len(pieces))
    if len(set(pieces)) != len(pieces) or len(types) != len(pieces):
        raise file.wrong(f"its {len(pieces):,} pieces are not all different; take another copy of the model.")
    if kind == "gpt2":
        tokenizer = _byte_level(file, pieces)
    elif kind == "llama":
        tokenizer = _sentencepiece(file, pieces, types)
    else:
        raise file.wrong(f"its tokenizer is of the kind {kind!r}; expected 'gpt2' or 'llama'.")
    # In the order of their numbers: a token that is not yet known would get a new one.
    added = [
        AddedToken(piece, normalized=False, special=number == CONTROL)
        for piece, number in zip(pieces, types, strict=True)
        # A run of spaces is put together from its halves, as in Gemma's own tokenizer.json.
        if number == CONTROL or (number == USER_DEFINED and piece.strip(" "))
    ]
    tokenizer.add_tokens(added)
    special = special_ids(file)
    names = {f"{name}_token": pieces[number] for name, number in special.items()}
    _add_ends(tokenizer, file, names, special)
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **names
    )
    fast.chat_template = file.value("tokenizer.chat_template", str, "") or None
    return fast


def special_ids(file: GgufFile) -> dict[str, int]:
    """bos, eos, unk and pad by their numbers, those that the file has."""
    size = len(file.value("tokenizer.ggml.tokens", list))
    found = {name: file.values.get(f"tokenizer.ggml.{key}_token_id") for name, key in NAMES.items()}
    for name, number in found.items():
        if not (number is None or number == NO_TOKEN or (isinstance(number, int) and 0 <= number < size)):
            what = f"its {name} token is {str(number)[:40]!r}, and its pieces are 0 to {size - 1:,}"
            raise file.wrong(f"{what}; take another copy of the model.")
    return {name: number for name, number in found.items() if number not in (None, NO_TOKEN)}


def _byte_level(file: GgufFile, pieces: list[str]) -> Tokenizer:
    split = file.value("tokenizer.ggml.pre", str, "default")
    merges = [_pair(file, str(merge)) for merge in file.value("tokenizer.ggml.merges", list)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    try:
        # LLaMA 3 takes a word that is a piece whole, whatever its merges would make of it.
        model = models.BPE(vocab=vocabulary, merges=merges, ignore_merges=split in LLAMA3)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise file.wrong(f"its merges do not fit its pieces ({error}); take another copy of the model.") from None
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = _pre_tokenizer(file, split)
    tokenizer.decoder = decoders.ByteLevel()
    if split == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _pair(file: GgufFile, merge: str) -> tuple[str, str]:
    left, space, right = merge.partition(" ")
    if not space or " " in right:
        raise file.wrong(f"its merges are pairs, and one is {merge[:40]!r}; take another copy of the model.")
    return left, right


def _pre_tokenizer(file: GgufFile, name: str) -> Any:
    if name == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    if name in SPLITS:
        words = pre_tokenizers.Split(Regex(SPLITS[name]), behavior="isolated")
        return pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    if name in PLAIN:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    raise file.wrong(
        f"it cuts text into words as {name!r} does, which is not known here; expected smollm, {', '.join(SPLITS)}, "
        f"{' or '.join(PLAIN)}."
    )


def _sentencepiece(file: GgufFile, pieces: list[str], types: list[int]) -> Tokenizer:
    gemma = file.value("general.architecture", str).startswith("gemma")
    if gemma:
        # The file spells its runs of spaces as spaces; the text that they are looked up in has none left.
        pieces = [piece if piece.strip(" ") else SPACE * len(piece) for piece in pieces]
        # Many of Gemma's pieces have one and the same score; their order is that of the merges.
        ranks = [-float(number) for number in range(len(pieces))]
    else:
        ranks = file.value("tokenizer.ggml.scores", list)
    merged = [number not in NOT_MERGED for number in types]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    unknown = special_ids(file).get("unk")
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=merges_of(pieces, ranks, merged),
            unk_token=None if unknown is None else pieces[unknown],
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    spaces, steps = normalizers.Replace(" ", SPACE), [decoders.Replace(SPACE, " "), decoders.ByteFallback()]
    begins_with_space = file.value("tokenizer.ggml.add_space_prefix", bool, not gemma)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if begins_with_space else spaces
    ending = [decoders.Fuse(), decoders.Strip(" ", 1, 0)] if begins_with_space else [decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, *ending])
    return tokenizer


def _add_ends(tokenizer: Tokenizer, file: GgufFile, names: dict[str, str], ids: dict[str, int]) -> None:
    """What every text begins and ends with, as the file says; LLaMA's begin with bos where it says nothing."""
    llama = file.values["tokenizer.ggml.model"] == "llama" or file.values.get("tokenizer.ggml.pre") in LLAMA3
    wanted = {
        "bos": file.value("tokenizer.ggml.add_bos_token", bool, llama),
        "eos": file.value("tokenizer.ggml.add_eos_token", bool, False),
    }
    bos, eos = ([names[f"{end}_token"]] if wanted[end] and end in ids else [] for end in ("bos", "eos"))
    if bos or eos:
        one, two = ([*bos, f"${text}:{number}", *eos] for text, number in (("A", 0), ("B", 1)))
        tokens = [(names[f"{end}_token"], ids[end]) for end in ("bos", "eos") if end in ids]
        tokenizer.post_processor = processors.TemplateProcessing(single=one, pair=[*one, *two], special_tokens=tokens)
