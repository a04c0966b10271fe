"""From records to token sequences with masked prompts, and the counts that are told before the first step."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tokenizers.models import BPE
from transformers import PreTrainedTokenizerBase

from pacos.core.errors import PacosError
from pacos.core.prompts import WITH_INPUT, WITHOUT_INPUT, render_prompt
from pacos.core.recipe import TrainTable
from pacos.core.records import Example, read_examples
from pacos.train.report import DataReport

HELDOUT_MOST = 200
HELDOUT_SHARE = 0.05
FEWEST_TO_HOLD_BACK = 100
HISTOGRAM_BOUNDS = (0, 32, 64, 128, 256, 512, 1024, 2048, 4096, 2**31)
ENCODE_AT_ONCE = 1000
PUBLISHED = "alpaca-2023"


@dataclass(frozen=True, slots=True)
class Document:
    """One example as the model sees it: tokens, of which the first `num_masked` carry no label."""

    id: str
    input_ids: list[int]
    num_masked: int
    truncated: bool = False
    merged: bool = False
    """Whether a token spans prompt and answer, so that the answer's first character is masked."""

    @property
    def num_labels(self) -> int:
        """Tokens that are predicted; the first of a document never is, having nothing before it."""
        return len(self.input_ids) - max(self.num_masked, 1)


@dataclass(frozen=True)
class TrainingData:
    """Encoded training and held-out documents with the report on them."""

    documents: list[Document]
    heldout: list[Document]
    report: DataReport


def load_data(path: Path, table: TrainTable, tokenizer: PreTrainedTokenizerBase) -> TrainingData:
    """Reads, splits and encodes a dataset; PacosError where nothing is left to train on."""
    records = read_examples(path)
    trained, held_back = split_heldout(records, table.max_examples, table.mode == PUBLISHED)
    encoded = list(encode(trained, tokenizer, table.mode, table.max_length))
    heldout = list(encode(held_back, tokenizer, table.mode, table.max_length))
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
        empty_outputs=sum(not example.output for example in trained),
        wholly_masked=len(encoded) - len(documents), merged=sum(document.merged for document in encoded),
        tokens=sum(lengths), supervised_tokens=sum(document.num_labels for document in documents),
        longest_tokens=max(lengths), max_length=table.max_length, histogram=_histogram(lengths),
        planned_steps=steps_per_epoch(len(documents), table) * table.num_epochs,
    )  # fmt: skip
    return TrainingData(documents, heldout_left, report)


def split_heldout(
    examples: list[Example], max_examples: int | None, all_trained: bool = False
) -> tuple[list[Example], list[Example]]:
    """(trained on, held back): the records after the first `max_examples`, else the last twentieth; 200 at most. Fewer
    than 100 records are all trained on, and so are all where `all_trained` asks for it and none are left over."""
    if len(examples) < FEWEST_TO_HOLD_BACK:
        return examples[:max_examples], []
    kept = len(examples) - min(HELDOUT_MOST, math.ceil(len(examples) * HELDOUT_SHARE)) * (not all_trained)
    if max_examples is not None and len(examples) > max_examples:
        kept = max_examples
    return examples[:kept], examples[kept : kept + HELDOUT_MOST]


def steps_per_epoch(num_documents: int, table: TrainTable) -> int:
    """Optimizer steps an epoch: `alpaca-2023` leaves a last, smaller batch out, as the published run and Trainer do."""
    drops = table.mode == PUBLISHED or table.engine == "trainer"
    return max(num_documents // table.batch_size, 1) if drops else math.ceil(num_documents / table.batch_size)


def encode(
    examples: list[Example], tokenizer: PreTrainedTokenizerBase, mode: str, max_length: int
) -> Iterator[Document]:
    """Tokenises prompts and answers and cuts them at `max_length` tokens; masks the prompt.

    `alpaca-2023` is stanford_alpaca/train.py's preprocess: prompt and whole text tokenised separately, and as many
    leading labels masked as the prompt alone has tokens, even where a token spans the border. `modern` tokenises
    the answer apart, so that every answer token and the end-of-text token is supervised.
    """
    for start in range(0, len(examples), ENCODE_AT_ONCE):
        batch = examples[start : start + ENCODE_AT_ONCE]
        prompts = [render_prompt(example.instruction, example.input) for example in batch]
        merged = [False] * len(batch)
        if mode == PUBLISHED:
            answers = [example.output + str(tokenizer.eos_token) for example in batch]
            whole_ids, lengths, merged = _encode_jointly(tokenizer, prompts, answers)
        else:
            prompt_ids = [_without_end(ids, tokenizer) for ids in _token_ids(tokenizer, prompts)]
            answer_ids = _token_ids(tokenizer, [example.output for example in batch], add_special_tokens=False)
            pairs = zip(prompt_ids, answer_ids, strict=True)
            whole_ids = [prompt + answer + [tokenizer.eos_token_id] for prompt, answer in pairs]
            lengths = [len(prompt) for prompt in prompt_ids]
        for example, whole, length, spans in zip(batch, whole_ids, lengths, merged, strict=True):
            masked = min(length, max_length, len(whole))
            yield Document(example.id, whole[:max_length], masked, len(whole) > max_length, spans)


def shared_prefixes(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], ...]:
    """The tokens that prompts with and without an input begin with: all before the instruction."""
    heads = [template.partition("{instruction}")[0] for template in (WITH_INPUT, WITHOUT_INPUT)]
    return tuple(tuple(_without_end(ids, tokenizer)) for ids in _token_ids(tokenizer, heads))


def _encode_jointly(
    tokenizer: PreTrainedTokenizerBase, prompts: list[str], answers: list[str]
) -> tuple[list[list[int]], list[int], list[bool]]:
    """Ids of prompt + answer, how many tokens the prompt alone has, and whether a token spans the two."""
    wholes = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    encoded = tokenizer(wholes, return_attention_mask=False, verbose=False)
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
    for number, ids in zip(open_ones, _token_ids(tokenizer, [prompts[n] for n in open_ones]), strict=True):
        lengths[number] = len(ids)
        merged[number] = ids != encoded["input_ids"][number][: len(ids)]
    return list(encoded["input_ids"]), lengths, merged


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
