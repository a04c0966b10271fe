"""Perplexity and bits per byte: how well a model foretells texts that it was not trained on."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import read_text
from pacos.core.records import Example
from pacos.evaluate.answers import question
from pacos.evaluate.candidates import Candidate
from pacos.evaluate.likelihood import Form, Likelihood, Likelihoods, Passage
from pacos.evaluate.measurement import ratio_of
from pacos.evaluate.report import Perplexity

HELD_OUT = "held-out"
# Of a text file; each is read with nothing before it, so that every model can, and items can be drawn.
PIECE_CHARACTERS = 1000


@dataclass(frozen=True)
class KnownText:
    """A text in parts: pieces of a file, whose instructions are empty, or examples, whose outputs count."""

    name: str
    parts: list[Example]


def read_texts(names: Sequence[str], held_out: Sequence[Example]) -> list[KnownText]:
    """The texts named, "held-out" being the examples kept from training. PacosError for a file without text.

    Of a small data set none are kept: that is said, and no reason to give up what was trained by then.
    """
    texts = []
    for name in names:
        if name == HELD_OUT:
            parts = [example for example in held_out if example.output.strip()]
            if not parts:
                print(
                    "evaluate: no perplexity of held-out examples: of fewer than 100 none are kept from training.",
                    file=sys.stderr,
                )
                continue
        else:
            pieces = pieces_of(read_text(Path(name), "text to measure perplexity on"))
            parts = [Example("", "", piece) for piece in pieces]
            if not parts:
                raise PacosError(f"evaluate.perplexity {name}: the file is empty; give a file with text in it.")
        texts.append(KnownText(name, parts))
    return texts


def pieces_of(text: str) -> list[str]:
    """The text in order in pieces of at most PIECE_CHARACTERS, cut at line ends where there are any; blank ones not."""
    pieces = [""]
    for line in text.splitlines(keepends=True):
        for start in range(0, len(line), PIECE_CHARACTERS):
            part = line[start : start + PIECE_CHARACTERS]
            if len(pieces[-1]) + len(part) > PIECE_CHARACTERS:
                pieces.append("")
            pieces[-1] += part
    return [piece for piece in pieces if piece.strip()]


def text_passages(candidate: Candidate, form: Form, texts: Sequence[KnownText]) -> list[Passage]:
    """Every part as the candidate is to read it: an output after its instruction, as a student is asked it."""
    return [
        Passage(
            _name(text, number),
            question(part.instruction, part.input, form == "chat") if part.instruction else "",
            part.output,
            candidate.joins_answers,
        )
        for text in texts
        for number, part in enumerate(text.parts)
    ]


def _name(text: KnownText, number: int) -> str:
    return f"text {text.name}/{number}"


def measure_perplexity(
    texts: Sequence[KnownText], found: Mapping[str, Likelihoods], baseline: str, seed: int
) -> list[Perplexity]:
    """Of each text, over the parts that every model that can be measured could read."""
    absent = {label: each.absent for label, each in found.items() if each.absent}
    measured = {label: each.of for label, each in found.items() if not each.absent}
    return [_measure(text, measured, absent, baseline, seed) for text in texts]


def _measure(
    text: KnownText,
    measured: Mapping[str, Mapping[str, Likelihood]],
    absent: dict[str, str],
    baseline: str,
    seed: int,
) -> Perplexity:
    sizes_of = {_name(text, number): len(part.output.encode()) for number, part in enumerate(text.parts)}
    read = {name: size for name, size in sizes_of.items() if all(name in each for each in measured.values())}
    sizes = list(map(float, read.values()))
    nats = {label: [-each[name].logprob for name in read] for label, each in measured.items()}
    tokens = {label: [float(each[name].tokens) for name in read] for label, each in measured.items()}
    per_token = {label: ratio_of({label: each}, tokens[label], baseline, seed) for label, each in nats.items()}
    return Perplexity(
        text="held-out examples" if text.name == HELD_OUT else text.name,
        bytes=sum(read.values()),
        tokens={label: int(sum(each)) for label, each in tokens.items()},
        perplexity={label: exp(value) for label, each in per_token.items() for value in each.values.values()},
        perplexity_intervals={
            label: (exp(low), exp(high)) for label, each in per_token.items() for low, high in each.intervals.values()
        },
        bits_per_byte=ratio_of(
            {label: [n / log(2) for n in each] for label, each in nats.items()}, sizes, baseline, seed
        ),
        left_out=len(sizes_of) - len(read),
        absent=absent,
    )
