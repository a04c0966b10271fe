"""What a judge is shown and how it is to be read: a folder with judge.toml and prompt.txt, ours or a user's."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import SandboxedEnvironment

from pacos.core.errors import PacosError
from pacos.core.files import read_text, sha256_text
from pacos.core.keys import check_name, checked
from pacos.core.keys import key as _key

FOLDERS = Path(__file__).parent / "prompts"
DEFAULT = "pairwise"
SLOTS = ("instruction", "input", "reference", "answer_a", "answer_b")
FILES = ("judge.toml", "prompt.txt")


@dataclass(frozen=True)
class JudgeKeys:
    """The keys of a judge.toml."""

    read: Literal["verdict", "label", "letter"] = _key("verdict")
    """`verdict`: the last line that begins with "Verdict:"; `label`: the whole reply is a label; `letter`: the first
    token is one, weighted by its log-probability where the engine gives it."""
    a: str = _key("A")
    """What the judge says where answer A is better."""
    b: str = _key("B")
    """What it says where answer B is better."""
    tie: str = _key("")
    """What it says where they are equal; empty: it cannot."""
    max_tokens: int | None = _key(None, unit="tokens", at_least=1)
    """The longest reply; unset means that of the judge's table."""


@dataclass(frozen=True)
class JudgePrompt:
    """A loaded folder; `sha256` is of all that is in it that shapes a vote."""

    name: str
    keys: JudgeKeys
    template: Template
    tags: tuple[str, ...]
    sha256: str

    def shown(self, instruction: str, context: str, reference: str, answer_a: str, answer_b: str) -> str:
        """The judge's whole prompt; `context` is the instruction's input.

        Tags of the template that stand in a text must not end a block early, so their "<" is written out.
        """
        texts = zip(SLOTS, (instruction, context, reference, answer_a.strip(), answer_b.strip()), strict=True)
        tag = re.compile(rf"<(?=/?(?:{'|'.join(self.tags)})>)")
        filled = {slot: tag.sub("&lt;", text) if self.tags else text for slot, text in texts}
        try:
            return self.template.render(filled)
        except Exception as error:
            # A template is the user's code, which may fail in any way.
            raise PacosError(
                f"{prompt_folder(self.name) / FILES[1]}: cannot be filled in ({error}); expected one that shows the "
                f"texts {', '.join(SLOTS)} as they are. Mend it."
            ) from None


@cache
def load_prompt(name: str) -> JudgePrompt:
    """The folder of that name that comes along, or the folder at that path; PacosError where it cannot be used."""
    known = sorted(folder.name for folder in FOLDERS.iterdir())
    folder = prompt_folder(name)
    if folder.parent == FOLDERS:
        check_name("judge", name, known, "prompt")
    keys, text = (read_text(folder / file, "judge's prompt folder") for file in FILES)
    template, tags = _parsed(folder / FILES[1], text)
    prompt = JudgePrompt(name, _keys(folder / FILES[0], keys), template, tags, sha256_text(f"{keys}\0{text}"))
    # What fails for all texts is said before anybody is asked.
    prompt.shown(*SLOTS)
    return prompt


def prompt_folder(name: str) -> Path:
    """Where a prompt lies: a bare word is one of ours, anything else a path."""
    return FOLDERS / name if re.fullmatch(r"[\w-]+", name) else Path(name)


def _keys(path: Path, text: str) -> JudgeKeys:
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        raise PacosError(f"{path}: not TOML: {error}. A judge.toml holds key = value lines.") from None
    keys = JudgeKeys(**{key: checked(str(path), JudgeKeys, "judge", key, value) for key, value in document.items()})
    labels = [label for label in (keys.a, keys.b, keys.tie) if label]
    read_as = {bare(label) for label in labels}
    if not (keys.a and keys.b) or "" in read_as or len(read_as) < len(labels):
        raise PacosError(
            f"{path}: the labels are {', '.join(map(repr, labels))}; expected a and b, and all different when spaces, "
            "full stops, quotes and asterisks around them are left out, as they are in a reply."
        )
    return keys


def bare(text: str) -> str:
    """A label without what marks it up."""
    return text.strip(" \t\r\n.*_\"'`")


def _parsed(path: Path, text: str) -> tuple[Template, tuple[str, ...]]:
    environment = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    try:
        template, used = environment.from_string(text), find_undeclared_variables(environment.parse(text))
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise PacosError(f"{path}{f':{line}' if line else ''}: not a template: {error}; mend it.") from None
    if unknown := sorted(used - set(SLOTS)):
        check_name(str(path), unknown[0], SLOTS, "text")
    if missing := [slot for slot in ("instruction", "answer_a", "answer_b") if slot not in used]:
        raise PacosError(f"{path}: shows no {missing[0]}; write {{{{ {missing[0]} }}}} where it is to stand.")
    return template, tuple(sorted(set(re.findall(r"<(\w+)>", text))))
