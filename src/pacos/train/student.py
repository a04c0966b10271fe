"""The model folder: loading a base, and saving a student that servers need no special case for."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from pacos.core.errors import PacosError
from pacos.core.files import write_error
from pacos.core.models import resolve_model, weights_sha256
from pacos.core.prompts import WITHOUT_INPUT
from pacos.train import attention


def load_base(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a base in fp32 with per-document attention, and its tokenizer.

    Raises PacosError where it is missing, cannot be read, has no end-of-text token, or fewer embeddings than tokens.
    """
    path = resolve_model(name)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation=attention.NAME)
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
    return model, tokenizer


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


def save_student(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes weights, config and tokenizer beside `folder` and renames them into place when they are whole."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    tokenizer.chat_template = chat_template(tokenizer)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        for path in partial.iterdir():
            path.chmod(0o644)
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        # safetensors reports a full disk as an error of its own.
        system = error if isinstance(error, OSError) else OSError(0, str(error).splitlines()[0])
        raise write_error(folder, system) from error


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
