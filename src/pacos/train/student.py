"""The model folder: loading a base, and saving a student that servers need no special case for."""

import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from sentencepiece import SentencePieceProcessor
from tokenizers.normalizers import Prepend, Replace, Sequence
from torch.distributed.tensor import DTensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

from pacos.core.errors import PacosError
from pacos.core.files import write_error
from pacos.core.models import resolve_model, weights_sha256
from pacos.core.prompts import WITHOUT_INPUT
from pacos.core.recipe import LoraTable, TrainTable
from pacos.train import attention
from pacos.train.data import PUBLISHED
from pacos.train.machine import Team
from pacos.train.optimizer import join, split

# Models whose layers hand the documents' places on to attention and know positions from ids alone.
PACKABLE = {"llama", "mistral", "qwen2", "qwen3", "smollm3", "gpt2"}
VOCABULARY_MULTIPLE = 64
# How far the saved model's logits may lie from the trained one's: nothing but another order of summing in fp32.
TOLERANCE = {"fp32": 1e-3, "bf16": 1e-3, "split": 0.1}
# By trained weight, what it lacks of its fp32 value where it is kept in bf16.
Remainders = dict[torch.nn.Parameter, torch.Tensor]


@dataclass(frozen=True)
class Base:
    """What is trained, on the CPU in fp32 still; `packs` says whether by the fast path."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    packs: bool


def load_base(table: TrainTable) -> Base:
    """Loads a base in fp32 and its tokenizer, with the mode's vocabulary and the recipe's adapters.

    Raises PacosError where it is missing, cannot be read, has no end-of-text token, or fewer embeddings than tokens.
    """
    name = table.base
    path = resolve_model(name)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        tokenizer = load_tokenizer(path)
        config = AutoConfig.from_pretrained(path)
        packs = table.engine == "pacos" and _packs(config, table.max_length)
        kind = {"attn_implementation": attention.NAME} if packs else {}
        model = AutoModelForCausalLM.from_pretrained(path, config=config, dtype=torch.float32, **kind)
        # What could not be saved after training is refused before it.
        model.generation_config.validate(strict=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
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
    return Base(model, tokenizer, packs)


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """A folder's tokenizer. A bare LLaMA `tokenizer.model` becomes a fast one with sentencepiece's very ids.

    transformers 5.23 asks for tiktoken there, or with protobuf installed takes no account of the pieces' scores, so
    that two spaces become other tokens than the base was trained on.
    """
    file = Path(path) / "tokenizer.model"
    if not file.exists() or (file.parent / "tokenizer.json").exists():
        return cast(PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(path))
    read = SentencePieceProcessor(model_file=str(file))
    pieces = [read.id_to_piece(number) for number in range(len(read))]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = [
        (read.get_score(number), piece[:cut], piece[cut:])
        for number, piece in enumerate(pieces)
        if not (read.is_control(number) or read.is_unknown(number) or read.is_byte(number))
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]
    merges.sort(key=lambda merge: (merge[0], len(merge[1]), len(merge[2])), reverse=True)
    fast = LlamaTokenizer(
        vocab=vocabulary, merges=[merge[1:] for merge in merges], add_bos_token=True
    ).backend_tokenizer
    # Every text begins with a space of sentencepiece's own, even one that begins with a space.
    fast.normalizer, fast.pre_tokenizer = Sequence([Prepend("▁"), Replace(" ", "▁")]), None
    names = {f"{name}_token": pieces[number] for name, number in _special(read).items() if number >= 0}
    return PreTrainedTokenizerFast(tokenizer_object=fast, **names)  # type: ignore[no-untyped-call]


def _special(read: SentencePieceProcessor) -> dict[str, int]:
    return {"bos": read.bos_id(), "eos": read.eos_id(), "unk": read.unk_id()}


def _packs(config: object, max_length: int) -> bool:
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    return getattr(config, "model_type", "") in PACKABLE and (window is None or window >= max_length)


def has_dropout(model: PreTrainedModel) -> bool:
    """Whether training draws random numbers, so that a prefix computed once is not what it would be each time."""
    rates = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    return any(rates) or bool(getattr(model.config, "attention_dropout", 0.0))


def grow_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, mode: str) -> None:
    """`alpaca-2023` adds [PAD] where there is no padding token; `modern` fills the vocabulary up to a multiple of 64.

    New rows are the mean of the old ones, in the embeddings and the LM head.
    """
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
    """Puts peft's low-rank adapters beside every linear layer; only they are trained. PacosError without peft."""
    try:
        peft = importlib.import_module("peft")
    except ImportError:
        raise PacosError("[train.lora]: needs peft, which is not installed; pip install 'pacos[lora]'.") from None
    model.add_adapter(
        peft.LoraConfig(
            r=table.rank,
            lora_alpha=table.alpha,
            lora_dropout=table.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
            base_model_name_or_path=os.path.abspath(path) if Path(path).is_dir() else path,
        )
    )


def split_weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Makes the weights bf16 and returns by name what that leaves of their fp32 values, where these are trained."""
    remainders = {}
    for name, parameter in model.named_parameters():
        high, low = split(parameter.data)
        parameter.data = high
        if parameter.requires_grad:
            remainders[name] = low
    return remainders


def base_sha256(name: str, model: PreTrainedModel) -> str:
    """The base's `weights_sha256`; for one without safetensors at hand, of its tensors' bytes in order of name."""
    folder = Path(resolve_model(name))
    if folder.is_dir() and any(folder.glob("model*.safetensors")):
        return weights_sha256(folder)
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_student(base: Base, remainders: Remainders, adapters: bool, folder: Path, team: Team) -> None:
    """Writes weights, config and tokenizer beside `folder` and renames them into place when they are whole.

    Weights go to the file one tensor at a time, in fp32, gathered from all processes; adapters in peft's format.
    """
    model, tokenizer = base.model, base.tokenizer
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        if team.rank == 0:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        _write_weights(model, remainders, partial, adapters, team)
        if team.rank:
            return
        tokenizer.chat_template = chat_template(tokenizer)
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        model.config.dtype = torch.float32
        tokenizer.save_pretrained(partial)
        # transformers takes a folder with a config of its own for a whole model, and without for adapters.
        if adapters:
            model.peft_config["default"].save_pretrained(str(partial))
        else:
            model.config.save_pretrained(partial)
            model.generation_config.save_pretrained(partial)
        for path in partial.iterdir():
            path.chmod(0o644)
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise write_error(folder, error if isinstance(error, OSError) else OSError(0, str(error))) from error


def _write_weights(model: PreTrainedModel, remainders: Remainders, folder: Path, adapters: bool, team: Team) -> None:
    tensors = {
        f"base_model.model.{name.replace('.default', '')}" if adapters else name: tensor
        for name, tensor in _saved_tensors(model)
        if tensor.requires_grad or not adapters
    }
    header, place = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in tensors.items():
        size = 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [place, place + size]}  # type: ignore[dict-item]
        place += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = folder / ("adapter_model.safetensors" if adapters else "model.safetensors")
    with open(os.devnull if team.rank else path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(
                _whole(tensor, remainders.get(cast(torch.nn.Parameter, tensor)))
                .contiguous()
                .view(-1)
                .view(torch.uint8)
                .numpy()
                .data
            )


def _saved_tensors(model: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    """Every weight once, tied ones by their first name, and the buffers that belong to a checkpoint."""
    weights = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    yield from model.named_parameters()
    yield from ((name, tensor) for name, tensor in model.state_dict().items() if name not in weights)


def _whole(tensor: torch.Tensor, remainder: torch.Tensor | None) -> torch.Tensor:
    """A weight in fp32 on the CPU, gathered from all processes."""
    parts = [tensor.detach()] if remainder is None else [tensor.detach(), remainder]
    whole = [(part.full_tensor() if isinstance(part, DTensor) else part).cpu() for part in parts]
    return join(*whole) if len(whole) == 2 else whole[0].float()


@torch.no_grad()
def probe(model: PreTrainedModel, device: torch.device) -> torch.Tensor:
    """The logits [1, 32, V] of a fixed text, by which a saved model is compared with the trained one."""
    model.train(False)
    ids = (torch.arange(32) * 37 % 211).unsqueeze(0).to(device)
    kind = model.config._attn_implementation
    model.set_attn_implementation("sdpa" if kind == attention.NAME else kind)
    logits = model(ids, use_cache=False).logits.float().cpu()
    model.set_attn_implementation(kind)
    return cast(torch.Tensor, logits)


def check_student(folder: Path, expected: torch.Tensor, precision: str) -> None:
    """Loads the saved student as anyone would; PacosError where its logits are not those of the trained model."""
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    apart = float((probe(loaded, torch.device("cpu")) - expected).abs().max())
    if not apart <= TOLERANCE[precision] * max(1.0, float(expected.abs().max())):
        raise PacosError(
            f"{folder}: loaded back, its logits are {apart:.3g} away from the trained model's; it was not saved whole. "
            "The last checkpoint is kept: repeat the same command, on another disk if it happens again."
        )


def chat_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """Alpaca's prompt as a Jinja chat template: a single user turn renders as `render_prompt` does.

    Earlier turns stand as further Instruction and Response blocks under the one preamble, and a system message
    opens the first instruction: the student knows no other form.
    """
    preamble, after = WITHOUT_INPUT.split("### Instruction:\n{instruction}")
    heading = after.strip()
    # Servers tokenise a rendered chat without adding special tokens, so the template writes what training saw.
    begin = tokenizer.bos_token if _adds_bos(tokenizer) else ""
    return (
        "{%- set ns = namespace(system='') -%}"
        f"{{{{- {begin + preamble!r} -}}}}"
        "{%- for message in messages -%}"
        "{%- if message.role == 'system' -%}{%- set ns.system = ns.system + message.content + '\\n\\n' -%}"
        "{%- elif message.role == 'user' -%}"
        "{{- '### Instruction:\\n' + ns.system + message.content + '\\n\\n' -}}{%- set ns.system = '' -%}"
        f"{{%- if loop.last and add_generation_prompt -%}}{{{{- {heading!r} -}}}}{{%- endif -%}}"
        f"{{%- else -%}}{{{{- {heading!r} + message.content -}}}}"
        "{%- if loop.last -%}{{- eos_token -}}{%- else -%}{{- '\\n\\n' -}}{%- endif -%}"
        "{%- endif -%}{%- endfor -%}"
    )


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
