"""A GGUF file becomes the model and the tokenizer that it was made from, or one line that says what is wrong."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from pacos.core.models import resolve_model
from tests.conftest import Command
from tests.engines.gguf_files import byte_level_values, random_model, sentencepiece_values, write_gguf

VOCABULARY = 400
TEXTS = [
    "In 2023, 52,002 examples:\n\n1. One\n\n\n2. Two 12345",
    "def f(x):\n\treturn  x ** 2    # squared",
    "It's what we'LL do;  déjà vu 日本語 🦙 ",
    " leads a Zyzzyva",
    "the quick brown fox jumps over the lazy dog",
]
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
SPLITS = {
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
}
SPLITS |= {
    name: [
        pre_tokenizers.Split(
            Regex(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
                + digits
                + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            ),
            behavior="isolated",
        ),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    for name, digits in {"llama-bpe": r"\p{N}{1,3}", "qwen2": r"\p{N}"}.items()
}


def byte_level(split: str) -> PreTrainedTokenizerFast:
    """A tokenizer whose pieces go across whatever one way to cut text keeps apart, so that each way gives others."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>", "<pad>"]
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - 1, special_tokens=special, initial_alphabet=alphabet)
    trained.train_from_iterator(["\n\n1", "2023", " 123", "'s", "'LL do", "; ", "the dog"] * 4, trainer)
    learned = json.loads(trained.to_str())["model"]
    # No merges make this piece: only LLaMA 3 takes such a word whole.
    vocabulary = learned["vocab"] | {"ĠZyzzyva": VOCABULARY - 1}
    missing = {f"<unused{number}>": number for number in range(len(learned["vocab"]), VOCABULARY - 1)}
    merges = [tuple(merge) for merge in learned["merges"]]
    model = models.BPE(vocab=vocabulary | missing, merges=merges, ignore_merges=split == "llama-bpe")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(SPLITS[split])
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def trained_sentencepiece(gemma: bool) -> sentencepiece.SentencePieceProcessor:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*TEXTS, "the quick brown foxes were reading in the lazy reader's den"] * 8),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY,
        byte_fallback=True,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        add_dummy_prefix=not gemma,
        remove_extra_whitespaces=False,
        split_digits=True,
        user_defined_symbols=["▁" * length for length in range(2, 9)] if gemma else [],
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def small_model(kind: str, **values: Any) -> PreTrainedModel:
    return random_model(AutoConfig.for_model(kind, **(SMALL | values)))


def small_gguf(path: Path, **changed: Any) -> Path:
    model = small_model("llama")
    return write_gguf(path, model, byte_level_values(byte_level("smollm"), "smollm"), **changed)


LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0}
LLAMA3 |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
GEMMA = {"head_dim": 32, "sliding_window": 8, "query_pre_attn_scalar": 32}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("llama", {"tie_word_embeddings": True}),
        ("llama", {"tie_word_embeddings": False, "attention_bias": True, "rms_norm_eps": 1e-5}),
        ("llama", {"rope_parameters": LLAMA3}),
        ("qwen2", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
        ("qwen3", {"head_dim": 32}),
        ("smollm3", {"num_hidden_layers": 5, "pad_token_id": 2}),
        ("gemma", {"head_dim": 32}),
        ("gemma2", GEMMA),
        ("gemma3_text", GEMMA | {"num_hidden_layers": 7}),
    ],
)
def test_the_logits_are_the_original_models(tmp_path: Path, pacos: Command, kind: str, values: dict[str, Any]) -> None:
    model = small_model(kind, **values)
    more = {"rope_freqs.weight": divisors(model)} if "rope_parameters" in values and kind == "llama" else {}
    path = write_gguf(tmp_path / "m.gguf", model, byte_level_values(byte_level("smollm"), "smollm"), more=more)
    code, said, errors = pacos("fetch", path)
    assert code == 0, errors
    folder = resolve_model(str(path))
    assert folder in said
    assert "licence: mit" in said
    ids = torch.randint(3, VOCABULARY, (2, 40), generator=torch.Generator().manual_seed(1))
    again = AutoModelForCausalLM.from_pretrained(folder)
    assert again.dtype == torch.float32
    with torch.inference_mode():
        assert torch.equal(again(ids).logits, model(ids).logits)


def divisors(model: PreTrainedModel) -> np.ndarray:
    """What llama.cpp's conversion writes for LLaMA 3: the plain frequencies over the stretched ones."""
    plain = 500000.0 ** -(torch.arange(0, 16, 2).double() / 16)
    return (plain / model.model.rotary_emb.inv_freq.double()).float().numpy()


@pytest.mark.parametrize("quantisation", ["Q8_0", "Q4_1", "Q5_0", "BF16"])
def test_quantised_weights_become_bf16(tmp_path: Path, pacos: Command, quantisation: str) -> None:
    path = small_gguf(tmp_path / "m.gguf", quantisation=quantisation)
    assert pacos("fetch", path)[0] == 0
    original, again = small_model("llama"), AutoModelForCausalLM.from_pretrained(resolve_model(str(path)))
    assert again.dtype == torch.bfloat16
    for name, weights in original.state_dict().items():
        coarse = 0.0 if weights.ndim == 1 else {"Q8_0": 0.01, "Q4_1": 0.08, "Q5_0": 0.06, "BF16": 0.0}[quantisation]
        # bf16 keeps eight bits.
        torch.testing.assert_close(again.state_dict()[name].float(), weights, atol=coarse, rtol=2**-8)


@pytest.mark.parametrize("split", list(SPLITS))
def test_byte_level_tokens_are_the_original_ones(tmp_path: Path, pacos: Command, split: str) -> None:
    tokenizer = byte_level(split)
    template = "{% for m in messages %}<s>{{ m['content'] }}</s>{% endfor %}"
    values = byte_level_values(tokenizer, split) | {"tokenizer.chat_template": template}
    path = write_gguf(tmp_path / "m.gguf", small_model("llama"), values | {"tokenizer.ggml.add_bos_token": False})
    assert pacos("fetch", path)[0] == 0
    again = AutoTokenizer.from_pretrained(resolve_model(str(path)))
    others = [byte_level(other) for other in SPLITS if other != split]
    for other in others:
        assert [other(text)["input_ids"] for text in TEXTS] != [tokenizer(text)["input_ids"] for text in TEXTS]
    assert [again(text)["input_ids"] for text in TEXTS] == [tokenizer(text)["input_ids"] for text in TEXTS]
    assert [again.decode(again(text)["input_ids"]) for text in TEXTS] == TEXTS
    chat = again.apply_chat_template([{"role": "user", "content": "the dog"}])["input_ids"]
    assert chat == tokenizer("<s>the dog</s>")["input_ids"]
    assert (again.bos_token, again.eos_token, again.pad_token) == ("<s>", "</s>", "<pad>")


@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_sentencepiece_tokens_are_sentencepieces_own(tmp_path: Path, pacos: Command, kind: str) -> None:
    read = trained_sentencepiece(gemma := kind != "llama")
    model = small_model(kind, vocab_size=len(read), **(GEMMA if gemma else {}))
    path = write_gguf(tmp_path / "m.gguf", model, sentencepiece_values(read, gemma=gemma))
    assert pacos("fetch", path)[0] == 0
    again = AutoTokenizer.from_pretrained(resolve_model(str(path)))
    for text in TEXTS:
        assert again(text)["input_ids"] == [read.bos_id(), *read.encode(text)], text
        assert again.decode(again(text)["input_ids"], skip_special_tokens=True) == text


def refused(pacos: Command, path: Path, *said: str) -> None:
    code, _, errors = pacos("fetch", path)
    lines = errors.strip().splitlines()
    assert code == 2
    assert len(lines) == 1
    for part in (str(path), *said):
        assert part in lines[0]
    assert not list(path.parent.glob("cache/models/[!.]*"))
    assert not list(path.parent.glob("cache/models/.*.partial"))


def test_a_gguf_cut_anywhere_is_one_line(tmp_path: Path, pacos: Command) -> None:
    whole = small_gguf(tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    for length in [
        *range(4, len(whole) // 16, len(whole) // 400),
        *range(len(whole) // 16, len(whole), len(whole) // 9),
    ]:
        path.write_bytes(whole[:length])
        refused(pacos, path, "cut off or damaged", "download it again")


def test_what_is_no_gguf_is_one_line(tmp_path: Path, pacos: Command) -> None:
    path = tmp_path / "page.gguf"
    path.write_text("<html>404</html>")
    refused(pacos, path, "no GGUF file")
    path.write_bytes(b"")
    refused(pacos, path, "no GGUF file")
    assert "no such file" in pacos("fetch", tmp_path / "none.gguf")[2]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"architecture": "mamba"}, ["'mamba'", "llama, qwen2, qwen3", "gemma3"]),
        ({"values": {"tokenizer.ggml.pre": "tekken"}}, ["'tekken'", "smollm"]),
        ({"values": {"tokenizer.ggml.model": "bert"}}, ["'bert'", "gpt2"]),
        ({"values": {"tokenizer.ggml.merges": ["q zz"]}}, ["merges"]),
        ({"values": {"llama.embedding_length": 32}}, ["lm_head", "[400, 64]", "[400, 32]"]),
        ({"values": {"llama.block_count": 3}}, ["model.layers.2", "nothing"]),
        ({"values": {"llama.attention.head_count": 0}}, ["head_count is 0", "above 0"]),
        ({"values": {"llama.attention.head_count": 3}}, ["values make no model", "attention heads"]),
        ({"values": {"llama.attention.key_length": 15}}, ["values make no model", "even"]),
        ({"values": {"llama.block_count": 2**31}}, ["2,147,483,648 layers", "tensors"]),
        ({"values": {"llama.context_length": 0}}, ["llama.context_length is 0"]),
        ({"values": {"llama.rope.freq_base": float("nan")}}, ["llama.rope.freq_base is nan"]),
        ({"values": {"llama.attention.layer_norm_rms_epsilon": -1.0}}, ["epsilon is -1.0"]),
        ({"values": {"tokenizer.ggml.merges": ["a"]}}, ["merges are pairs", "'a'"]),
        ({"values": {"tokenizer.ggml.merges": [1, 2]}}, ["merges are pairs", "'1'"]),
        ({"values": {"tokenizer.ggml.eos_token_id": 400}}, ["eos token is '400'", "0 to 399"]),
        ({"values": {"tokenizer.chat_template": 5}}, ["tokenizer.chat_template", "expected str"]),
        ({"values": {"llama.context_length": None}}, ["llama.context_length"]),
        ({"values": {"llama.feed_forward_length": "wide"}}, ["llama.feed_forward_length", "wide"]),
        ({"values": {"llama.rope.scaling.type": "yarn"}}, ["yarn"]),
        ({"more": {"rope_freqs.weight": np.full(8, 3.0, np.float32)}}, ["rope_freqs.weight"]),
        ({"more": {"blk.0.ffn_gate_exps.weight": np.ones((2, 2), np.float32)}}, ["blk.0.ffn_gate_exps.weight"]),
        ({"tensors": {"model.norm.weight": np.full(64, np.nan, np.float32)}}, ["output_norm.weight", "not finite"]),
        ({"tensors": {"model.norm.weight": np.ones(64, np.float64)}}, ["output_norm.weight", "F64", "Q8_0"]),
    ],
)
def test_a_model_that_cannot_be_read_is_one_line(
    tmp_path: Path, pacos: Command, changed: dict[str, Any], said: list[str]
) -> None:
    refused(pacos, small_gguf(tmp_path / "m.gguf", **changed), *said)


def test_an_unknown_quantisation_is_one_line(tmp_path: Path, pacos: Command) -> None:
    path = small_gguf(tmp_path / "m.gguf")
    content = bytearray(path.read_bytes())
    name = b"blk.1.ffn_down.weight"
    # After the name: the count of dimensions, both of them, and the number of the quantisation.
    place = content.index(name) + len(name) + 4 + 2 * 8
    struct.pack_into("<I", content, place, 99)
    path.write_bytes(content)
    refused(pacos, path, "99", "quantisation", "Q4_K_M")


@pytest.mark.parametrize("place", [0, 1, 2**64 - 1], ids=["another's", "unaligned", "before all"])
def test_a_tensor_that_lies_where_another_does_is_one_line(tmp_path: Path, pacos: Command, place: int) -> None:
    path = small_gguf(tmp_path / "m.gguf")
    content = bytearray(path.read_bytes())
    name = b"blk.1.ffn_down.weight"
    # After the name: the count of dimensions, both of them, the quantisation, and the place among the numbers.
    struct.pack_into("<Q", content, content.index(name) + len(name) + 4 + 2 * 8 + 4, place)
    path.write_bytes(content)
    refused(pacos, path, "lies at byte", "download it again")


def test_a_licence_of_many_lines_is_one(tmp_path: Path, pacos: Command) -> None:
    path = small_gguf(tmp_path / "m.gguf", values={"general.license": "mit\n---\nlicense: apache-2.0"})
    code, said, _ = pacos("fetch", path)
    assert code == 0
    assert "licence: mit --- license: apache-2.0\n" in said


def test_a_gguf_that_was_not_fetched_says_the_command(tmp_path: Path, pacos: Command) -> None:
    path = small_gguf(tmp_path / "my model.gguf")
    (tmp_path / "r.toml").write_text(f'[train]\nbase = "{path}"\n')
    code, _, errors = pacos("doctor", tmp_path / "r.toml")
    assert code == 2
    assert f"pacos fetch '{path}'" in errors
