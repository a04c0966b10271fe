"""How often the mark is found where it is, and where it is not, as docs/watermark.md reports.

    python benchmarks/watermark_rates.py DATA COMPLETIONS.jsonl ANSWERS.jsonl [--figure docs/pictures/watermark.svg]

The two files are of benchmarks/watermark_answers.py. True positives are by text, as `pacos detect` reads it, at 50, 100
and 200 tokens, and after 10, 30 and 50% of the words of 200 tokens were replaced by other words of the same
set of answers; at the paper's z > 4, and at the detector's own exact p-value, which pays for looking at passages too.
Intervals are Wilson's, 95%. A passage of 200 marked tokens is also put in the middle of 800 unmarked ones.

False positives are of text that people wrote, under a new key for each passage: of DATA, the folder of shared data, the
sets for red teaming that people wrote, and passages of 200 tokens of the documentation inside the Python packages that
are installed here. Those of one fixed key are beside them.
"""

import argparse
import ast
import csv
import gzip
import importlib.metadata
import io
import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
from tokenizers import Tokenizer

from pacos.core.models import resolve_model
from pacos.statistics import wilson
from pacos.watermark import Watermark
from pacos.watermark.detection import MAX_FALSE_ALARM_RATE, Detection, search_passages
from pacos.watermark.text_detection import cased_again

matplotlib.use("svg")
PACKAGES = ("scipy", "sympy", "numpy", "torch", "nltk", "networkx", "matplotlib", "sqlalchemy", "transformers", "pip")
SHARES, LENGTHS = (0.0, 0.1, 0.3, 0.5), (50, 100, 200)
PAPER = 0.994
"""Table 2 of arXiv:2301.10226: OPT-1.3B, multinomial sampling, T about 200, gamma 0.25, delta 2, z = 4."""


def human_passages(data: Path, tokenizer: Tokenizer) -> dict[str, list[list[int]]]:
    """Tokens of passages by source; those of 26 tokens and more."""
    redteam = data / "redteam"
    texts: dict[str, list[str]] = {"BBQ": [], "CrowS-Pairs": [], "moderation samples": []}
    for file in sorted((redteam / "bbq").glob("*.jsonl")):
        texts["BBQ"] += [json.loads(line)["context"] for line in file.read_text(encoding="utf-8").splitlines()]
    pairs = (redteam / "crows-pairs" / "crows_pairs_anonymized.csv").read_text(encoding="utf-8")
    texts["CrowS-Pairs"] = [row["sent_more"] for row in csv.DictReader(io.StringIO(pairs))]
    with gzip.open(redteam / "openai-moderation" / "samples-1680.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts["moderation samples"] = [json.loads(line)["prompt"] for line in lines]
    passages = {
        name: [each.ids[:200] for each in tokenizer.encode_batch(sorted(set(some)), add_special_tokens=False)]
        for name, some in texts.items()
    }
    ids = [i for each in tokenizer.encode_batch(docstrings(), add_special_tokens=False) for i in each.ids]
    passages["documentation"] = [ids[start : start + 200] for start in range(0, len(ids) - 200, 200)]
    return {name: [each for each in some if len(each) >= 26] for name, some in passages.items()}


def docstrings() -> list[str]:
    """Different docstrings of 200 characters and more, examples and tables of parameters left out."""
    found = {}
    for package in PACKAGES:
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.suffix != ".py":
                continue
            try:
                tree = ast.parse(Path(str(file.locate())).read_text(encoding="utf-8"))
            except (OSError, SyntaxError, ValueError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                    kept = [
                        line for line in text.splitlines() if re.match(r"[A-Z]?[a-z]", line.strip()) and ":" not in line
                    ]
                    prose = " ".join(" ".join(kept).split())
                    if len(prose) >= 200:
                        found[prose] = None
    return list(found)


def false_alarms(passages: dict[str, list[list[int]]], vocab_size: int) -> None:
    draw = random.Random(0)
    everything = [each for some in passages.values() for each in some]
    for scheme in ("simple_1", "threefry"):
        for keys in ("a key each", "one key"):
            found: list[Detection] = []
            if keys == "one key":
                found = Watermark(scheme, vocab_size).detect_all(everything)
            else:
                for start in range(0, len(everything), 25):
                    mark = Watermark(scheme, vocab_size, key=draw.getrandbits(62) | 1)
                    found += mark.detect_all(everything[start : start + 25])
            report_alarms(f"{scheme}, {keys}", found)


def report_alarms(name: str, found: Sequence[Detection]) -> None:
    long = [each for each in found if each.verdict != "insufficient text"]
    searched = [search_passages(each) for each in long]
    shares = [
        sum(each.exact_p_value <= level for each in some) / len(some)
        for some in (long, searched)
        for level in (0.01, 0.001)
    ]
    alarms = [sum(each.exact_p_value <= MAX_FALSE_ALARM_RATE for each in some) for some in (long, searched)]
    print(
        f"{name:<22} {len(long):,} passages: called marked {alarms[0]} (whole), {alarms[1]} (with passages); expected "
        f"at most {MAX_FALSE_ALARM_RATE * len(long):.2f}; z > 4 {sum(each.z_score > 4 for each in long)}; "
        f"p <= .01 / .001: whole {shares[0]:.2%} / {shares[1]:.3%}, with passages {shares[2]:.2%} / {shares[3]:.3%}"
    )


class Marked:
    """Answers and the tokenizer that reads them."""

    def __init__(self, path: Path, tokenizer: Tokenizer) -> None:
        self.records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        self.tokenizer = tokenizer
        self.words = [word for record in self.records for word in record["text"].split()]
        self.marks = {
            record["key"]: Watermark("simple_1", record["vocab_size"], key=record["key"]) for record in self.records
        }

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def found(self, change: Callable[[str], list[int]]) -> list[Detection]:
        return [self.marks[record["key"]].detect(change(record["text"])) for record in self.records]

    def cut(self, length: int) -> list[Detection]:
        return self.found(lambda text: self.ids(text)[: length + 1])

    def replaced(self, share: float) -> list[Detection]:
        draw = random.Random(0)

        def change(text: str) -> list[int]:
            parts = re.split(r"(\s+)", text)
            places = [place for place in range(0, len(parts), 2) if parts[place]]
            for place in draw.sample(places, round(share * len(places))):
                parts[place] = draw.choice(self.words)
            return self.ids("".join(parts))

        return self.found(change)


def rate(found: Sequence[Detection], test: Callable[[Detection], bool]) -> tuple[float, float, float]:
    hits = sum(map(test, found))
    interval = wilson(hits, len(found))
    assert interval
    return hits / len(found), interval.low, interval.high


def by_z(found: Detection) -> bool:
    return found.z_score > 4


def by_verdict(found: Detection) -> bool:
    return search_passages(found).verdict == "watermarked"


def print_rates(name: str, found: Sequence[Detection]) -> None:
    told = ["{:.1%} ({:.1%} to {:.1%})".format(*rate(found, test)) for test in (by_z, by_verdict)]
    print(f"{name:<34} N={len(found)}  z > 4 {told[0]}   verdict {told[1]}", flush=True)


def print_all_rates(marked: Marked, filler: Sequence[list[int]]) -> None:
    for length in LENGTHS:
        print_rates(f"{length} tokens", marked.cut(length))
    for share in SHARES:
        print_rates(f"{share:.0%} of words replaced", marked.replaced(share))
    print_rates("in small letters", marked.found(lambda text: marked.ids(text.lower())))
    print_rates("in small letters, cased again", marked.found(lambda text: marked.ids(cased_again(text.lower()))))
    places = iter(range(0, 10**9, 4))

    def pasted(text: str) -> list[int]:
        number = next(places) % (len(filler) - 4)
        return filler[number] + filler[number + 1] + marked.ids(text) + filler[number + 2] + filler[number + 3]

    print_rates("among 800 unmarked tokens", marked.found(pasted))
    canary = [each for each in marked.cut(200) if each.num_tokens_scored >= 100]
    missed = sum(each.exact_p_value > 0.01 for each in canary)
    print(f"the canary would call {missed} of {len(canary)} unmarked", flush=True)


def draw_figure(path: Path, sets: dict[str, Marked]) -> None:
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "pacos"
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8.4, 3.4), sharey=True)
    for (name, marked), colour, shape in zip(sets.items(), ("#2f7464", "#8a6f52"), ("o", "s"), strict=False):
        lengths = (25, 50, 75, 100, 125, 150, 175, 200)
        for axes, xs, found in (
            (left, lengths, [marked.cut(length) for length in lengths]),
            (right, [100 * share for share in SHARES], [marked.replaced(share) for share in SHARES]),
        ):
            rates = [rate(each, by_verdict) for each in found]
            middle = [100 * each[0] for each in rates]
            errors = [[100 * (r[0] - r[1]) for r in rates], [100 * (r[2] - r[0]) for r in rates]]
            axes.errorbar(xs, middle, yerr=errors, color=colour, marker=shape, markersize=5, capsize=3, label=name)
    left.set(xlabel="tokens of the answer", ylabel="called watermarked, %", ylim=(-2, 103))
    right.set(xlabel="words replaced, % (200 tokens)")
    left.plot(
        200, 100 * PAPER, marker="*", markersize=12, color="#1d5a96", linestyle="none", label="paper, Table 2 (z = 4)"
    )
    left.legend(frameon=False, loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("completions", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--model", default="smollm2-135m")
    arguments = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(Path(resolve_model(arguments.model)) / "tokenizer.json"))
    sets = {
        "completions": Marked(arguments.completions, tokenizer),
        "answers to instructions": Marked(arguments.answers, tokenizer),
    }
    if arguments.figure:
        draw_figure(arguments.figure, sets)
    passages = human_passages(arguments.data, tokenizer)
    print({name: len(some) for name, some in passages.items()})
    filler = passages["documentation"]
    for name, marked in sets.items():
        print(f"{name}; the paper at 200 tokens: {PAPER:.1%} at z = 4")
        print_all_rates(marked, filler)
    false_alarms(passages, tokenizer.get_vocab_size())


if __name__ == "__main__":
    main()
