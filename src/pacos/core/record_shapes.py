"""What a record is: an example or a conversation, and the one place that makes either of a file's value."""

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from pacos.core.data_files import Doubled, Number, kind, parse_json, shown
from pacos.core.typed import MisfitError, check_whole

Role = Literal["system", "user", "assistant"]
ROLES: dict[str, Role] = {
    "system": "system", "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant",
}  # fmt: skip
TURN_KEYS = ("conversations", "messages")
SYSTEM_KEYS = ("system", "system_prompt")
ROLE_KEYS, CONTENT_KEYS = ("role", "from"), ("content", "value")
# What others call an instruction, an input or an output. Named in the advice and never taken for one: a prompt may be
# a text to go on with, an answer one letter of several choices.
OTHER_NAMES = {
    "prompt": "instruction", "question": "instruction", "query": "instruction", "context": "input",
    "completion": "output", "response": "output", "answer": "output", "chosen": "output", "target": "output",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Example:
    """One instruction, its input ("" for none) and the answer."""

    instruction: str
    input: str
    output: str

    @property
    def id(self) -> str:
        """Sixteen hex digits of the content's SHA-256: the same example has the same id everywhere."""
        return _hash([self.instruction, self.input, self.output])

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.instruction, self.input, self.output)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A system turn or none, then user and assistant by turns; the last is the assistant's."""

    turns: tuple[Turn, ...]

    @property
    def id(self) -> str:
        """Sixteen hex digits of the content's SHA-256."""
        return _hash([[turn.role, turn.content] for turn in self.turns])

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(turn.content for turn in self.turns)

    @property
    def examples(self) -> list[Example]:
        """Each question with its answer, without what came before."""
        said = [turn.content for turn in self.turns if turn.role != "system"]
        return [Example(said[at], "", said[at + 1]) for at in range(0, len(said), 2)]


Record = Example | Conversation


def examples_of(record: Record) -> list[Example]:
    """An example alone, or a conversation's."""
    return record.examples if isinstance(record, Conversation) else [record]


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


@dataclass
class Reading:
    """Turns values into records, and counts what is not read as it stands."""

    unknown_keys: Counter[str] = field(default_factory=Counter)
    as_text: int = 0
    unanswered: int = 0

    def record(self, value: Any) -> Record:
        """One record; MisfitError says what is wrong with it, and nothing of it is counted then."""
        if not isinstance(value, dict):
            raise MisfitError(f"is a JSON {kind(value)}")
        check_doubled(value)
        held = {str(key): each for key, each in value.items() if not _is_missing(each)}
        one = _OneRecord(held)
        record = one.conversation() if any(key in held for key in TURN_KEYS) else one.alpaca()
        self.unknown_keys.update(one.unknown)
        self.as_text += one.as_text
        self.unanswered += one.unanswered
        return record


@dataclass
class _OneRecord:
    held: dict[str, Any]
    unknown: set[str] = field(default_factory=set)
    as_text: bool = False
    unanswered: bool = False

    def alpaca(self) -> Record:
        """instruction, input and output, with the turns in `history` before them."""
        for key in ("instruction", "output"):
            if key not in self.held:
                raise MisfitError(f"has no '{key}' ({self._instead()})")
        instruction = self._text(self.held["instruction"], "instruction", numbers=False)
        given, output = (self._text(self.held.get(key, ""), key) for key in ("input", "output"))
        system, history = self._system(), self._history()
        self._note_unknown({"instruction", "input", "output", "history", *SYSTEM_KEYS})
        if not system and not history:
            return Example(instruction, given, output)
        # An empty line parts an instruction from its input where both are one message, as in serving.
        asked = Turn("user", f"{instruction}\n\n{given}" if given else instruction)
        return Conversation((*system, *history, asked, Turn("assistant", output)))

    def conversation(self) -> Conversation:
        """The turns of `messages` or `conversations`."""
        found = [key for key in (*TURN_KEYS, "instruction", "output", "history") if self.held.get(key)]
        found = found or [key for key in TURN_KEYS if key in self.held]
        if len(found) > 1:
            raise MisfitError(f"has both '{found[0]}' and '{found[1]}', so that it is two records in one")
        (key,) = found
        turns = [self._turn(each, f"{key}[{at}]", key) for at, each in enumerate(self._list(self.held[key], key))]
        system, first = self._system(), 0
        if turns and turns[0].role == "system":
            if system and system[0] != turns[0]:
                raise MisfitError(f"has one system text in '{key}' and another beside it")
            system, turns, first = (turns[0],), turns[1:], 1
        while turns and turns[-1].role == "user":
            del turns[-1]
            self.unanswered = True
        if not turns:
            raise MisfitError(f"has no answer of the assistant in '{key}'")
        for at, turn in enumerate(turns):
            due = ("user", "assistant")[at % 2]
            if turn.role != due:
                raise MisfitError(f"has a turn of '{turn.role}' at {key}[{at + first}] where one of '{due}' is due")
        self._note_unknown({key, *SYSTEM_KEYS})
        return Conversation((*(turn for turn in system if turn.content), *turns))

    def _turn(self, value: Any, where: str, key: str) -> Turn:
        if not isinstance(value, dict):
            raise MisfitError(f"has a {kind(value)} at {where}; a turn has role and content")
        check_doubled(value, f" at {where}")
        held = {name: each for name, each in value.items() if not _is_missing(each)}
        role, content = (_one_of(names, held, where) for names in (ROLE_KEYS, CONTENT_KEYS))
        known = _role(role)
        if known is None:
            named = f"role '{shown(role)}'" if isinstance(role, str) else "no role"
            raise MisfitError(f"has {named} at {where}; only turns of system, user and assistant are trained on")
        if content is None:
            raise MisfitError(f"has no content at {where} ({', '.join(map(shown, list(held)[:8]))})")
        if isinstance(content, list):
            content = "".join(self._part(part, where) for part in content)
        self.unknown |= {
            f"{key}.{shown(name)}"
            for name, each in held.items()
            if name not in (*ROLE_KEYS, *CONTENT_KEYS) and _says(each)
        }
        return Turn(known, self._text(content, where))

    def _part(self, part: Any, where: str) -> str:
        text = part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else part
        if not isinstance(text, str):
            raise MisfitError(f"has content at {where} that is no text")
        return text

    def _system(self) -> tuple[Turn, ...]:
        texts = {self._text(self.held[key], key) for key in SYSTEM_KEYS if key in self.held} - {""}
        if len(texts) > 1:
            raise MisfitError("has one text in 'system' and another in 'system_prompt'")
        return tuple(Turn("system", text) for text in texts)

    def _history(self) -> list[Turn]:
        turns = []
        for at, pair in enumerate(self._list(self.held.get("history", []), "history")):
            if not isinstance(pair, list | tuple) or len(pair) != 2 or any(map(_is_missing, pair)):
                raise MisfitError(f"has no pair of a user's and an assistant's text at history[{at}]")
            asked, answered = (self._text(text, f"history[{at}]") for text in pair)
            turns += [Turn("user", asked), Turn("assistant", answered)]
        return turns

    def _list(self, value: Any, key: str) -> list[Any]:
        # A table's cell holds a list as JSON.
        if isinstance(value, str):
            try:
                value = parse_json(value) if value.strip() else []
            except ValueError:
                raise MisfitError(f"has text for '{key}' that is no JSON list") from None
        if not isinstance(value, list | tuple):
            raise MisfitError(f"has a {kind(value)} for '{key}'; expected a list")
        return list(value)

    def _text(self, value: Any, key: str, numbers: bool = True) -> str:
        if numbers and isinstance(value, bool | int | float | Number):
            self.as_text = True
            value = str(value) if isinstance(value, Number) else json.dumps(value)
        if not isinstance(value, str):
            raise MisfitError(f"has a {kind(value)} for '{key}'; expected text")
        check_whole(value, f" in '{key}'")
        return value

    def _note_unknown(self, known: set[str]) -> None:
        self.unknown |= {shown(key) for key, value in self.held.items() if key not in known and _says(value)}

    def _instead(self) -> str:
        """What a record has where it has no instruction or no output, and what to call it."""
        has = f"it has: {', '.join(map(shown, list(self.held)[:8])) or 'nothing'}"
        renamed: dict[str, str] = {}
        for key in self.held:
            if (name := OTHER_NAMES.get(key)) and name not in self.held:
                renamed.setdefault(name, key)
        if renamed:
            return (
                f"{has}; if that is meant, rename {' and '.join(f'{old} to {name}' for name, old in renamed.items())}"
            )
        return f"{has}; a text alone has no answer to learn" if "text" in self.held else has


def check_doubled(value: Any, where: str = "") -> None:
    """MisfitError for an object that gives one key two values."""
    if isinstance(value, Doubled):
        raise MisfitError(f"has two values for '{shown(value.twice)}'{where}")


def _one_of(names: tuple[str, ...], held: dict[str, Any], where: str) -> Any:
    """The value under whichever name a turn has; MisfitError where it has both and they differ."""
    found = [held[name] for name in names if name in held]
    if any(each != found[0] and (_role(each) is None or _role(each) != _role(found[0])) for each in found):
        raise MisfitError(f"has '{names[0]}' and '{names[1]}' at {where}, and they differ")
    return found[0] if found else None


def _role(value: Any) -> Role | None:
    return ROLES.get(value.strip().lower()) if isinstance(value, str) else None


def _says(value: object) -> bool:
    """Whether a value that is not read would have said anything: empty ones and lists of empty ones do not."""
    # Not by recursion: a file may nest its lists as deep as the parser lets it.
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left += each.values()
        elif isinstance(each, list | tuple):
            left += each
        elif not _is_missing(each) and each != "":
            return True
    return False
