"""From records to token sequences with masked prompts, and the counts that are told before the first step."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers.models import BPE
from transformers import PreTrainedTokenizerBase

from pacos.core.errors import PacosError
from pacos.core.heldout import split_heldout
from pacos.core.prompts import WITH_INPUT, WITHOUT_INPUT, render_prompt
from pacos.core.recipe import TrainTable
from pacos.core.records import Conversation, Dataset, Example, Record, examples_of, read_dataset, refused
from pacos.core.typed import MisfitError
from pacos.train.conversations import ChatEncoder, ControlTokens
from pacos.train.report import DataReport

HISTOGRAM_BOUNDS = (0, 32, 64, 128, 256, 512, 1024, 2048, 4096, 2**31)
ENCODE_AT_ONCE = 1000
PUBLISHED = "alpaca-2023"


@dataclass(frozen=True, slots=True)
class Document:
    """One example or conversation as the model sees it: tokens, of which the first `num_masked` carry no label."""

    id: str
    input_ids: list[int]
    num_masked: int
    truncated: bool = False
    merged: bool = False
    """Whether a token spans prompt and answer, so that the answer's first character is masked."""
    gaps: tuple[tuple[int, int], ...] = ()
    """Later stretches (first, end) of `input_ids` without labels: what the user says between answers."""

    @property
    def num_labels(self) -> int:
        """Tokens that are predicted; the first of a document never is, having nothing before it."""
        return len(self.input_ids) - max(self.num_masked, 1) - sum(end - first for first, end in self.gaps)


@dataclass(frozen=True)
class TrainingData:
    """Encoded training and held-out documents with the report on them."""

    documents: list[Document]
    heldout: list[Document]
    report: DataReport
    ends: tuple[int, ...] = ()
    """The tokens that end the conversations."""


def load_data(path: Path, table: TrainTable, tokenizer: PreTrainedTokenizerBase) -> TrainingData:
    """Reads, splits and encodes a dataset; PacosError for bad records, or where nothing is left to train on."""
    dataset = read_dataset(path)
    records = dataset.sound()
    control = ControlTokens(tokenizer)
    special = Counter(token for record in records for token in control.found(record.texts))
    chats = _encode_conversations(dataset, table, tokenizer, control, bool(special))
    trained, held_back = split_heldout(records, table.max_examples, table.mode == PUBLISHED)
    encoded, heldout = (_encode_all(group, chats, tokenizer, table) for group in (trained, held_back))
    documents, heldout_left = ([d for d in group if d.num_labels > 0] for group in (encoded, heldout))
    if not documents:
        raise PacosError(
            f"{path}: no record has a label within {table.max_length} tokens, so a batch would teach nothing; "
            "raise train.max_length."
        )
    lengths = [len(document.input_ids) for document in documents]
    report = DataReport(
        records=len(records), heldout=len(heldout), heldout_wholly_masked=len(heldout) - len(heldout_left),
        examples=len(documents), truncated=sum(document.truncated for document in encoded),
        conversations=sum(isinstance(record, Conversation) for record in trained),
        empty_outputs=sum(not all(example.output for example in examples_of(record)) for record in trained),
        wholly_masked=len(encoded) - len(documents), merged=sum(document.merged for document in encoded),
        tokens=sum(lengths), supervised_tokens=sum(document.num_labels for document in documents),
        longest_tokens=max(lengths), max_length=table.max_length, histogram=_histogram(lengths),
        planned_steps=steps_per_epoch(len(documents), table) * table.num_epochs,
        form=dataset.form, unknown_keys=dataset.unknown_keys, as_text=dataset.as_text, unanswered=dataset.unanswered,
        special_tokens=dict(special.most_common()), special_tokens_parsed=table.parse_special_tokens,
    )  # fmt: skip
    ends = {document.input_ids[-1] for document in chats.values() if not document.truncated}
    return TrainingData(documents, heldout_left, report, tuple(sorted(ends)))


def _encode_conversations(
    dataset: Dataset, table: TrainTable, tokenizer: PreTrainedTokenizerBase, control: ControlTokens, special: bool
) -> dict[Conversation, Document]:
    """Every conversation under the base's chat template. PacosError where it has none, and for all those records at
    once that it cannot write or, where texts hold `special` tokens, whose own the tokenizer cannot take as text."""
    numbers = [number for number, record in dataset.records if isinstance(record, Conversation)]
    if numbers and not tokenizer.chat_template:
        raise PacosError(
            f"{dataset.path}: {len(numbers):,} of {len(dataset.records):,} records are conversations (messages, system "
            f"or history), the first is {dataset.unit} {numbers[0]}, and train.base {table.base} has no chat template "
            "to write them in; take a base that has one, such as smollm2-135m."
        )
    if numbers and not tokenizer.is_fast:
        raise PacosError(
            f"train.base {table.base}: its tokenizer does not tell where tokens stand in a text, so that answers of a "
            "conversation cannot be told from questions; save it with a tokenizer.json."
        )
    encoder = ChatEncoder(tokenizer, control, table.parse_special_tokens)
    documents: dict[Conversation, Document] = {}
    bad = []
    for number, record in dataset.records:
        try:
            if isinstance(record, Conversation):
                documents[record] = _cut(record, encoder, table.max_length)
            elif special and not table.parse_special_tokens:
                for text in record.texts:
                    control.check_text(text)
        except MisfitError as misfit:
            bad.append((number, str(misfit)))
    if bad:
        raise refused(dataset.path, dataset.unit, bad, len(dataset.records))
    return documents


def _cut(conversation: Conversation, encoder: ChatEncoder, max_length: int) -> Document:
    encoded = encoder.encode(conversation)
    length = min(len(encoded.input_ids), max_length)
    between = pairwise(encoded.answers)
    gaps = tuple((end, min(start, length)) for (_, end), (start, _) in between if end < length)
    return Document(
        conversation.id, encoded.input_ids[:length], min(encoded.answers[0][0], length),
        truncated=length < len(encoded.input_ids), gaps=gaps,
    )  # fmt: skip


def _encode_all(
    records: Sequence[Record],
    chats: dict[Conversation, Document],
    tokenizer: PreTrainedTokenizerBase,
    table: TrainTable,
) -> list[Document]:
    examples = [record for record in records if isinstance(record, Example)]
    encoded = encode(examples, tokenizer, table.mode, table.max_length, table.parse_special_tokens)
    return [chats[record] if isinstance(record, Conversation) else next(encoded) for record in records]


def steps_per_epoch(num_documents: int, table: TrainTable) -> int:
    """Optimizer steps an epoch: `alpaca-2023` leaves a last, smaller batch out, as the published run and Trainer do."""
    drops = table.mode == PUBLISHED or table.engine == "trainer"
    return max(num_documents // table.batch_size, 1) if drops else math.ceil(num_documents / table.batch_size)


def encode(
    examples: list[Example],
    tokenizer: PreTrainedTokenizerBase,
    mode: str,
    max_length: int,
    parse_special_tokens: bool = False,
) -> Iterator[Document]:
    """Tokenises prompts and answers and cuts them at `max_length` tokens; masks the prompt.

    `alpaca-2023` is stanford_alpaca/train.py's preprocess: prompt and whole text tokenised separately, and as many
    leading labels masked as the prompt alone has tokens, even where a token spans the border. `modern` tokenises
    the answer apart, so that every answer token and the end-of-text token is supervised. Special tokens that stand in a
    text are text unless `parse_special_tokens`.
    """
    control = ControlTokens(tokenizer)
    options: dict[str, Any] = {} if parse_special_tokens else {"split_special_tokens": True}
    for start in range(0, len(examples), ENCODE_AT_ONCE):
        batch = examples[start : start + ENCODE_AT_ONCE]
        prompts = [render_prompt(example.instruction, example.input) for example in batch]
        answers = [example.output for example in batch]
        if mode == PUBLISHED:
            # As published the end-of-text token is written into the text, which parses whatever else stands there.
            holding = [not parse_special_tokens and bool(control.found(example.texts)) for example in batch]
            encoded = _encode_jointly(tokenizer, prompts, answers, holding)
        else:
            prompt_ids = [_without_end(ids, tokenizer) for ids in _token_ids(tokenizer, prompts, **options)]
            answer_ids = _token_ids(tokenizer, answers, add_special_tokens=False, **options)
            pairs = zip(prompt_ids, answer_ids, strict=True)
            encoded = [(prompt + answer + [tokenizer.eos_token_id], len(prompt), False) for prompt, answer in pairs]
        for example, (whole, length, spans) in zip(batch, encoded, strict=True):
            masked = min(length, max_length, len(whole))
            yield Document(example.id, whole[:max_length], masked, len(whole) > max_length, spans)


def shared_prefixes(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], ...]:
    """The tokens that prompts with and without an input begin with: all before the instruction."""
    heads = [template.partition("{instruction}")[0] for template in (WITH_INPUT, WITHOUT_INPUT)]
    return tuple(tuple(_without_end(ids, tokenizer)) for ids in _token_ids(tokenizer, heads))


Joint = tuple[list[int], int, bool]


def _encode_jointly(
    tokenizer: PreTrainedTokenizerBase, prompts: list[str], answers: list[str], as_text: list[bool]
) -> list[Joint]:
    """For each prompt and answer the ids of both and the end-of-text token, how many of them the prompt alone has, and
    whether a token spans the two; where `as_text`, special tokens in them are text."""
    encoded: dict[int, Joint] = {}
    for plain in (False, True):
        chosen = [number for number, each in enumerate(as_text) if each == plain]
        group = _encode_alike(tokenizer, [prompts[n] for n in chosen], [answers[n] for n in chosen], plain)
        encoded |= dict(zip(chosen, group, strict=True))
    return [encoded[number] for number in range(len(prompts))]


def _encode_alike(
    tokenizer: PreTrainedTokenizerBase, prompts: list[str], answers: list[str], plain: bool
) -> list[Joint]:
    if not prompts:
        return []
    options: dict[str, Any] = {"split_special_tokens": True} if plain else {}
    end = "" if plain else str(tokenizer.eos_token)
    wholes = [prompt + answer + end for prompt, answer in zip(prompts, answers, strict=True)]
    encoded = tokenizer(wholes, return_attention_mask=False, verbose=False, **options)
    # A byte pair encoding that ends a token where the prompt ends has merged nothing across, so the prompt alone has
    # the same tokens: only the other prompts need a second pass, which would otherwise take half of the time.
    bpe = isinstance(getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None), BPE)
    closes = tokenizer("a")["input_ids"][-1:] == [tokenizer.eos_token_id]
    lengths = [0] * len(prompts)
    if bpe and not closes:
        for number, prompt in enumerate(prompts):
            last, first = (encoded.char_to_token(number, len(prompt) + place) for place in (-1, 0))
            lengths[number] = first if last is not None and first == last + 1 else 0
    open_ones = [number for number, length in enumerate(lengths) if not length]
    merged = [False] * len(prompts)
    ids_of_prompts = _token_ids(tokenizer, [prompts[n] for n in open_ones], **options)
    for number, ids in zip(open_ones, ids_of_prompts, strict=True):
        lengths[number] = len(ids)
        merged[number] = ids != encoded["input_ids"][number][: len(ids)]
    ended = [[*ids, tokenizer.eos_token_id] if plain and not closes else ids for ids in encoded["input_ids"]]
    return list(zip(ended, lengths, merged, strict=True))


def _token_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str], **options: bool) -> list[list[int]]:
    return list(tokenizer(texts, return_attention_mask=False, verbose=False, **options)["input_ids"]) if texts else []


def _without_end(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    # Some tokenizers close every text they see; a prompt is not closed.
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def _histogram(lengths: Sequence[int]) -> dict[str, int]:
    """How many lengths lie in each stretch up to the longest, named "1-32" and so on."""
    longest = max(lengths)
    return {
        f"{low + 1}-{min(high, longest)}": sum(low < length <= high for length in lengths)
        for low, high in pairwise(HISTOGRAM_BOUNDS)
        if low < longest
    }
