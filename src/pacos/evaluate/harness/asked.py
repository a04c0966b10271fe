"""What a harness asks: the run's instructions, and multiple-choice questions, each in the form that the model knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.core.errors import PacosError
from pacos.core.files import read_json_lines
from pacos.core.prompts import render_prompt
from pacos.core.recipe import EngineTable
from pacos.core.run_folder import RunFolder
from pacos.engines import Message
from pacos.engines.local.tokenizer import load_tokenizer, prompt_ids, takes_conversation
from pacos.engines.open import prompt_lengths
from pacos.evaluate.answers import answer_tokens
from pacos.evaluate.items import Item, file_items, read_or_make_items
from pacos.evaluate.multiple_choice import BUILTIN
from pacos.evaluate.overlap import references_of


@dataclass(frozen=True)
class AskedItem:
    """An instruction: `text` is what a chat is sent, `reference` a known good answer or "".

    Our server parts the text into instruction and input at its first empty line.
    """

    id: str
    text: str
    reference: str


@dataclass(frozen=True)
class AskedQuestion:
    """A multiple-choice question: `prompt` is the text whose tokens the model reads, `answer` the right one's index."""

    id: str
    question: str
    prompt: str
    choices: list[str]
    answer: int


@dataclass(frozen=True)
class Asked:
    """Either all `items` have a reference answer, or none has: then only a judge can tell how good answers are.

    `model` is the checkpoint that is asked, which holds `context_tokens`; answers end at `max_tokens`. `left_out`
    has a line for each item that does not fit, `notes` what else there is to know.
    """

    model: str
    items: list[AskedItem]
    questions: list[AskedQuestion]
    max_tokens: int
    context_tokens: int
    left_out: list[str]
    notes: list[str]

    @property
    def has_references(self) -> bool:
        """Whether answers can be measured without a judge."""
        return any(item.reference for item in self.items)

    def rows(self, has_judge: bool) -> dict[str, Sequence[AskedItem | AskedQuestion]]:
        """By task what there is to measure, which of the instructions without references a judge alone can."""
        instructions: dict[str, Sequence[AskedItem | AskedQuestion]] = {"instructions": self.items}
        return (instructions if has_judge or self.has_references else {}) | {"multiple_choice": self.questions}


def read_asked(
    run_folder: RunFolder, model: str, instructions: Path | None, references: Path | None, limit: int | None
) -> Asked:
    """Both sets as the checkpoint `model` is asked them, the first `limit` of each. The instructions are the ones of
    the run's evaluation unless a file of them is given.

    An item whose prompt fills the model's context is left out, and said: harnesses cut such prompts, or end there.
    """
    evaluate = run_folder.recipe.evaluate
    items = _items(run_folder) if instructions is None else file_items(instructions)
    answers = references or (Path(evaluate.references) if evaluate.references and instructions is None else None)
    known = {item.id: item.reference for item in items if item.reference}
    given = references_of(items, str(answers)) if answers else {}
    known |= {item: texts[0] for item, texts in given.items()}
    max_tokens = evaluate.max_tokens or answer_tokens(EngineTable("local", path=model), items)
    is_chat = takes_conversation(load_tokenizer(model))
    main = [item for item in items if item.set == "main"]
    asked = [item for item in main if not known or item.id in known]
    notes = [f"{len(main) - len(asked)} of {len(main)} instructions have no reference answer, and were not asked."]
    fitting, context, too_long = _fitting(asked, model, is_chat)
    several = sum(len(given.get(item.id, ())) > 1 for item in fitting[:limit])
    is_first = f"{several} of the instructions have several reference answers; a harness is given the first."
    torn = 0 if is_chat else sum("\n\n" in item.instruction.strip() for item in fitting[:limit])
    is_torn = f"{torn} of the instructions have an empty line, after which a chat's message counts as the input."
    return Asked(
        model,
        [AskedItem(item.id, item.asked.strip(), known.get(item.id, "")) for item in fitting[:limit]],
        _questions(model, is_chat)[:limit],
        max_tokens,
        context,
        too_long,
        [*(notes if len(main) > len(asked) else []), *([is_first] if several else []), *([is_torn] if torn else [])],
    )


def _items(run_folder: RunFolder) -> list[Item]:
    path, given = run_folder.path / "evaluate" / "items.jsonl", run_folder.recipe.evaluate.instructions
    if path.is_file():
        return read_or_make_items(path, ())
    if not given:
        raise PacosError(
            f"{path}: no such file; the run has asked nothing yet. Run `pacos evaluate RECIPE --run {run_folder.path}` "
            "first, or give --instructions FILE."
        )
    return file_items(Path(given))


def _fitting(items: list[Item], model: str, is_chat: bool) -> tuple[list[Item], int, list[str]]:
    """The items that leave room for an answer, the model's context, and a line for each of the others."""
    table = EngineTable("local", path=model, api="chat" if is_chat else "completions")
    prompts = [item.asked.strip() if is_chat else render_prompt(item.instruction, item.input) for item in items]
    measured = prompt_lengths(table, prompts)
    if measured is None:
        raise PacosError(f"{model}: cannot be opened as a checkpoint; expected config.json and a tokenizer there.")
    lengths, context = measured
    too_long = [
        f"Not asked, since its prompt has {length:,} tokens and the model holds {context:,}: {item.instruction[:60]!r}."
        for item, length in zip(items, lengths, strict=True)
        if length >= context
    ]
    return [item for item, length in zip(items, lengths, strict=True) if length < context], context, too_long


def _questions(model: str, is_chat: bool) -> list[AskedQuestion]:
    tokenizer = load_tokenizer(model)

    def spelt(question: str) -> str:
        """The text that a tokenizer which adds nothing makes the trained prompt's tokens of."""
        prompt: Any = (Message("user", question),) if is_chat else render_prompt(question)
        ids = prompt_ids(tokenizer, prompt)
        written = str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
        for text in (written, f"{tokenizer.bos_token}{prompt}"):
            if tokenizer(text, add_special_tokens=False)["input_ids"] == ids:
                return text
        raise PacosError(
            f"{model}: its tokenizer does not read the prompt {written[:60]!r} as it wrote it; a harness that sends "
            "prompts as text cannot ask this model."
        )

    rows = [row for _, row in read_json_lines(BUILTIN, "multiple-choice questions")]
    return [AskedQuestion(r["id"], r["question"], spelt(r["question"]), r["choices"], r["answer"]) for r in rows]


def require_all(task: str, scored: Sequence[str], rows: Sequence[AskedItem | AskedQuestion]) -> None:
    """PacosError where a harness has not scored each of the rows once."""
    if sorted(scored) != sorted(row.id for row in rows):
        raise PacosError(f"{task}: the harness scored {len(scored)} items of the {len(rows)} that it was given.")
