"""The model that is served: where it is, what it is called, and how a conversation becomes its prompt."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer

from pacos.core.errors import PacosError
from pacos.core.files import read_json, read_text, sha256_text
from pacos.core.models import SHORT_NAMES, resolve_model, weights_sha256
from pacos.core.prompts import render_prompt
from pacos.engines import Message, Prompt
from pacos.engines.local.checkpoint import LEAN, context_tokens
from pacos.engines.local.tokenizer import load_tokenizer, takes_conversation


@dataclass(frozen=True)
class ServedModel:
    """`sha256` is of the weights; `takes_conversation` tells a chat model from a student of single instructions.

    A student may have a chat template too, but it never saw a second turn.
    """

    name: str
    path: str
    sha256: str
    vocab_size: int
    context_tokens: int
    has_template: bool
    takes_conversation: bool
    created: int
    sampling: Mapping[str, float] = field(default_factory=dict)
    """What its generation_config.json advises, by the names that `Sampling` has; it holds where a client says nothing.
    """

    @property
    def fingerprint(self) -> str:
        """What answers carry as system_fingerprint."""
        return f"pacos-{self.sha256[:12]}"

    def heard(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The messages that reach the model: all, or where there is no chat template to put more into, the last and
        the beginning of its answer."""
        last = -2 if begun_answer(messages) else -1
        return messages if self.takes_conversation or self.has_template else messages[last:]

    def prompt(self, messages: tuple[Message, ...]) -> Prompt:
        """A chat model gets the conversation; a student gets a single message in the form it was trained on.

        An empty line in that message parts the instruction from its input, as Alpaca's examples have both. More than
        one message goes through the checkpoint's chat template; where there is none, the last message stands alone.
        The beginning of an answer, at the end, is no part of the prompt: see `begun_answer`.
        """
        heard = self.heard(messages)
        heard = heard[:-1] if begun_answer(heard) else heard
        if self.takes_conversation or len(heard) > 1:
            return heard
        instruction, _, given = heard[0].content.strip().partition("\n\n")
        return render_prompt(instruction.strip(), given.strip())


def begun_answer(question: Prompt) -> str:
    """What the model has said already of the answer it is to go on with: a conversation that the assistant ends."""
    if isinstance(question, str) or len(question) < 2 or question[-1].role != "assistant":
        return ""
    return question[-1].content


def find_model(run_path: Path, model: str) -> ServedModel:
    """The checkpoint that `serve.model` names, or the run's student; PacosError where it is missing or unfinished."""
    path = resolve_model(model) if model else str(_student(run_path))
    folder = Path(path)
    try:
        config = AutoConfig.from_pretrained(path).get_text_config()
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise PacosError(
            f"{path}: cannot be opened as a Hugging Face checkpoint ({str(error).splitlines()[0]}); "
            "expected config.json and a tokenizer there."
        ) from None
    own_name = model if model in SHORT_NAMES else folder.name
    return ServedModel(
        name=(own_name if model else run_path.resolve().name) if folder.is_dir() else path,
        path=path,
        sha256=weights_sha256(folder) if folder.is_dir() else sha256_text(path),
        vocab_size=config.vocab_size,
        context_tokens=context_tokens(config, is_lean=config.model_type in LEAN),
        has_template=bool(tokenizer.chat_template),
        takes_conversation=takes_conversation(tokenizer),
        created=int(folder.stat().st_mtime) if folder.is_dir() else int(time.time()),
        sampling=_advised_sampling(folder / "generation_config.json"),
    )


# What a generation_config.json may advise, and the most that each may be.
_ADVICE = {"temperature": 2.0, "top_p": 1.0, "top_k": 2**31, "min_p": 1.0, "repetition_penalty": 10.0}


def _advised_sampling(path: Path) -> dict[str, float]:
    """By name; nothing where the file advises greedy decoding, and nothing of what is no sensible number."""
    config = read_json(path, "generation config") if path.is_file() else {}
    if not isinstance(config, dict) or config.get("do_sample") is False:
        return {}
    advised = {name: config.get(name) for name in _ADVICE}
    return {
        name: int(value) if name == "top_k" else float(value)
        for name, value in advised.items()
        if isinstance(value, int | float) and 0 < value <= _ADVICE[name]
    }


def _student(run_path: Path) -> Path:
    if not run_path.is_dir():
        raise PacosError(
            f"{run_path}: no such run folder; expected one that `pacos run RECIPE` made, such as runs/tiny."
        )
    folder = run_path / "train" / "model"
    if not (run_path / "train" / "done.json").is_file():
        raise PacosError(
            f"{folder}: the train stage is not finished in this run; run `pacos train RECIPE --run {run_path}` first, "
            "or name a checkpoint with serve.model=PATH."
        )
    if not (folder / "config.json").is_file():
        raise PacosError(
            f"{folder}: no config.json there; the student is gone. Train it again in another --run folder."
        )
    return folder


def tokenizer_json(path: str) -> str:
    """The checkpoint's tokenizer.json, or of one that has none in its folder what it would be."""
    file = Path(path) / "tokenizer.json"
    return read_text(file, "tokenizer") if file.is_file() else str(load_tokenizer(path).backend_tokenizer.to_str())
