"""Conversations under the base's own chat template, with every answer of the assistant in the loss."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from pacos.core.files import read_json, write_json, write_text
from pacos.core.records import Conversation
from pacos.core.special_tokens import PRIVATE_USE, control_tokens, pattern_of
from pacos.core.typed import MisfitError

TEMPLATE_FILE = "chat_template.jinja"
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
Span = tuple[int, int]


@dataclass(frozen=True)
class EncodedConversation:
    """Tokens up to the end of the last answer; `answers` are the stretches that carry labels, first to last."""

    input_ids: list[int]
    answers: tuple[Span, ...]


class ControlTokens:
    """The tokens of a tokenizer that are no text, and texts encoded so that none of them comes of it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.ids = control_tokens(tokenizer)
        self.pattern = pattern_of(self.ids)
        # A character that the vocabulary lacks is unknown, whatever stands beside it.
        self._forbidden = frozenset(self.ids.values()) - {tokenizer.unk_token_id}

    def found(self, texts: tuple[str, ...]) -> set[str]:
        """Those that stand in the texts."""
        return {token for text in texts for token in self.pattern.findall(text)}

    def check_text(self, text: str) -> None:
        """MisfitError where a control id comes of the text though it is taken as one."""
        if self.pattern.search(text):
            self.as_text(text)

    def as_text(self, text: str) -> Any:
        """The tokenizer's encoding, with offsets, of a text whose special tokens are characters like any others."""
        options: dict[str, Any] = {"return_offsets_mapping": True} if self._tokenizer.is_fast else {}
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False, **options)
        if wrong := self._forbidden.intersection(encoded["input_ids"]):
            token = self._tokenizer.convert_ids_to_tokens(min(wrong))
            raise MisfitError(
                f"holds {token!r}, which the base's tokenizer cannot take as text; remove it, or set "
                "train.parse_special_tokens=true"
            )
        return encoded


class ChatEncoder:
    """Renders a conversation by the tokenizer's chat template and finds its answers there."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, control: ControlTokens, parse_special_tokens: bool) -> None:
        self._tokenizer, self._control, self._parses = tokenizer, control, parse_special_tokens

    def encode(self, conversation: Conversation) -> EncodedConversation:
        """Its tokens and answers. MisfitError where the template refuses it, writes earlier turns otherwise once others
        follow, or changes an answer's text."""
        messages = [{"role": turn.role, "content": turn.content} for turn in conversation.turns]
        hidden = {} if self._parses else self._placeholders(conversation)
        for message in messages:
            for token, placeholder in hidden.items():
                message["content"] = message["content"].replace(token, placeholder)
        text, spans = self._rendered(messages)
        spans = [(start, self._answer_end(text, start, end)) for start, end in spans]
        ids, offsets = self._tokens(text, {placeholder: token for token, placeholder in hidden.items()})
        answers = []
        for start, end in spans:
            # A token that begins in the prompt, with a space, and holds the answer's first word is the answer's.
            inside = [n for n, (first, last) in enumerate(offsets) if first < end and last > start]
            if inside:
                answers.append((inside[0], inside[-1] + 1))
        if not answers:
            raise MisfitError("has no token of an answer under the base's chat template")
        ids = ids[: answers[-1][1]]
        if ids[-1] not in self._control.ids.values():
            # A template that closes no answer: the student is to learn where one ends all the same.
            ids.append(int(str(self._tokenizer.eos_token_id)))
            answers[-1] = (answers[-1][0], len(ids))
        return EncodedConversation(ids, tuple(answers))

    def _placeholders(self, conversation: Conversation) -> dict[str, str]:
        """A character for each special token in the texts, which the template is given in its stead."""
        texts = conversation.texts
        found = sorted(self._control.found(texts), key=len, reverse=True)
        free = (chr(code) for code in PRIVATE_USE if not any(chr(code) in text for text in texts))
        return dict(zip(found, free, strict=False))

    def _rendered(self, messages: list[dict[str, str]]) -> tuple[str, list[Span]]:
        """The whole text, and where the answers stand in it with what closes them."""
        whole = self._render(messages)
        spans = []
        for at, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before, until = self._render(messages[:at], asks=True), self._render(messages[: at + 1])
            if not (whole.startswith(until) and until.startswith(before)):
                spans = self._marked(messages)
                break
            spans.append((len(before), len(until)))
        answers = [message["content"] for message in messages if message["role"] == "assistant"]
        if len(spans) != len(answers):
            raise MisfitError(
                "has an answer that the base's chat template writes otherwise once another turn follows, or not after "
                "its own generation prompt; split it so that each answer stands at the end of one conversation, or "
                "take another base"
            )
        for (start, end), answer in zip(spans, answers, strict=True):
            if answer.strip() not in whole[start:end]:
                raise MisfitError(f"has an answer that the base's chat template changes: {answer.strip()[:40]!r}")
        return whole, spans

    def _render(self, messages: list[dict[str, str]], asks: bool = False) -> str:
        try:
            options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": asks}
            return str(self._tokenizer.apply_chat_template(messages, **options))
        except (TemplateError, ValueError, TypeError) as error:
            raise MisfitError(
                f"is refused by the base's chat template ({' '.join(str(error).split())[:100]})"
            ) from None

    def _marked(self, messages: list[dict[str, str]]) -> list[Span]:
        """The answers as the template itself marks them; none where it does not."""
        template = self._tokenizer.get_chat_template()
        if not _GENERATION.search(template):
            return []
        options: dict[str, Any] = {"return_assistant_tokens_mask": True, **self._tokenizer.special_tokens_map}
        _, (spans,) = cast(Any, render_jinja_template([messages], chat_template=template, **options))
        return [(int(start), int(end)) for start, end in spans]

    def _answer_end(self, text: str, start: int, end: int) -> int:
        """Without the white space that a template writes after the token that closes a turn."""
        closed = start + len(text[start:end].rstrip())
        last = [match.end() for match in self._control.pattern.finditer(text, start, closed)][-1:]
        return closed if last == [closed] else end

    def _tokens(self, text: str, hidden: dict[str, str]) -> tuple[list[int], list[Span]]:
        """Ids, and where each stands in `text`. What `hidden` has characters for is taken as text."""
        if not hidden:
            encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            return list(encoded["input_ids"]), list(encoded["offset_mapping"])
        # Between the template's own control tokens all is text. That it may be cut there is tried on the same text
        # with a letter where each special token stood: some tokenizers begin every piece with a space.
        tried = text.translate({ord(placeholder): "x" for placeholder in hidden})
        whole = self._tokenizer(tried, add_special_tokens=False, verbose=False)["input_ids"]
        if self._in_pieces(tried, {})[0] != whole:
            raise MisfitError(
                f"holds {next(iter(hidden.values()))!r}, which the base's tokenizer cannot take as text in a "
                "conversation; remove it, or set train.parse_special_tokens=true"
            )
        return self._in_pieces(text, hidden)

    def _in_pieces(self, text: str, hidden: dict[str, str]) -> tuple[list[int], list[Span]]:
        ids: list[int] = []
        offsets: list[Span] = []
        at = 0
        for match in (*self._control.pattern.finditer(text), None):
            piece = text[at : match.start() if match else len(text)]
            if piece:
                # Where each character of what is encoded stands in `text`.
                places = [at + n for n, c in enumerate(piece) for _ in hidden.get(c, c)]
                encoded = self._control.as_text("".join(hidden.get(c, c) for c in piece))
                ids += encoded["input_ids"]
                offsets += [
                    (places[first], places[last - 1] + 1 if last > first else places[first])
                    for first, last in encoded["offset_mapping"]
                ]
            if match:
                ids.append(self._control.ids[match[0]])
                offsets.append(match.span())
                at = match.end()
        return ids, offsets


def keep_chat(folder: Path, template: str, ends: Iterable[int]) -> None:
    """Makes a saved student take conversations as it was trained on them, ended by these tokens too."""
    write_text(folder / TEMPLATE_FILE, template)
    path = folder / "generation_config.json"
    config = read_json(path, "generation config")
    known = config.get("eos_token_id")
    config["eos_token_id"] = list(dict.fromkeys([*(known if isinstance(known, list) else [known]), *ends]))
    write_json(path, config)
