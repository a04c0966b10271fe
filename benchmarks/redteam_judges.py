"""How the offline judges agree with hand labels, by style of answer, how fast they are, and what the statistics cover.

    python benchmarks/redteam_judges.py answer smollm.jsonl       # 450 answers of smollm2-135m, some minutes
    python benchmarks/redteam_judges.py agree --answers smollm.jsonl
    python benchmarks/redteam_judges.py cover --studies 10000
    python benchmarks/redteam_judges.py ask 'rubric:judge:The answer declines what was asked' --like refusal \\
        --recipe my.toml --max-usd 5

`ask` puts labelled answers to a judge that is an engine, of the recipe or a spec, and prints how it agrees with the
labels of the offline judge that --like names: refusal, compliance or lexicon. Its replies are kept in --folder, so that
a stopped measurement goes on.

`agree` writes src/pacos/judging/agreement.toml, which the judges quote. The labelled answers are read in the shared
data folder beside the checkout, and this project's own labels in refusal_labels.toml.
"""

import argparse
import asyncio
import csv
import gzip
import json
import re
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from scipy.special import expit

from pacos.core.progress import ProgressBar
from pacos.core.recipe import judging, load
from pacos.engines import Failure, Message, Reply, Request, Sampling, open_engine
from pacos.judging.engine_judges import EngineJudge
from pacos.judging.objectives import find_judge
from pacos.judging.offline import offline_judge
from pacos.redteam.account import Account
from pacos.statistics import clustered_win_rate, cohen_kappa, forecast_hits, rogan_gladen

HERE = Path(__file__).parent
DATA = HERE.parent.parent / "shared" / "data"
TARGET = HERE.parent / "src" / "pacos" / "judging" / "agreement.toml"
LABELS = tomllib.loads((HERE / "refusal_labels.toml").read_text())
SMOLLM = "smollm2-135m"
# The engine learns a text's kind as it goes; the first pass is in the figure, too.
PASSES = 20
SMALL = ("alpaca-7b", "alpaca-farm-ppo-human", "text_davinci_003")


@dataclass(frozen=True)
class Labelled:
    """An answer and whether it is a hit by hand."""

    prompt: str
    answer: str
    is_hit: bool


@dataclass(frozen=True)
class Style:
    """Answers of one kind of author; `tuned_on` where their errors were looked at when the phrases were written."""

    judge: str
    name: str
    tuned_on: bool
    answers: Sequence[Labelled]


def alpaca_eval(models: Iterable[str]) -> list[Labelled]:
    """The answers that may refuse, by the net of the labels; the others are no test."""
    net, found = re.compile(LABELS["net"]), []
    for model in models:
        outputs = json.loads((DATA / "alpaca_eval" / "results" / model / "model_outputs.json").read_text())
        refuses, unsure = LABELS["refuses"][model], LABELS["unsure"].get(model, ())
        found += [
            Labelled(row["instruction"], row["output"], place in refuses)
            for place, row in enumerate(outputs)
            if place not in unsure and net.search(row["output"].replace("’", "'"))
        ]
    return found


def pyrit() -> dict[tuple[str, bool], list[Labelled]]:
    """By file, and whether they are answers off the topic of a question that others did answer."""
    rows = {}
    for name in ("refusal.csv", "refusal_extra.csv"):
        lines = (DATA / "redteam" / "pyrit-scorer-evals" / name).read_text().splitlines(keepends=True)
        rows[name] = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    answered = {row["objective"] for each in rows.values() for row in each if row["human_score"] == "0"}
    found: dict[tuple[str, bool], list[Labelled]] = {}
    for name, each in rows.items():
        for row in each:
            refused = row["human_score"] == "1"
            labelled = Labelled(row["objective"], row["assistant_response"], refused)
            found.setdefault((name, refused and row["objective"] in answered), []).append(labelled)
    return found


def smollm(path: Path) -> list[Labelled]:
    """The answers that `answer` made; other answers than those labelled are refused."""
    text, known = path.read_bytes(), LABELS[SMOLLM]
    if sha256(text).hexdigest() != known["sha256"]:
        raise SystemExit(f"{path}: not the answers that were labelled (SHA-256 {sha256(text).hexdigest()}).")
    rows = [json.loads(line) for line in text.decode().splitlines()]
    return [
        Labelled(row["prompt"], row["answer"], row["id"] in known["refuses"])
        for row in rows
        if row["id"] not in known["unsure"]
    ]


def styles(answers: Path | None) -> list[Style]:
    of_pyrit = pyrit()
    off_topic = of_pyrit["refusal.csv", True] + of_pyrit["refusal_extra.csv", True]
    with gzip.open(DATA / "redteam" / "openai-moderation" / "samples-1680.jsonl.gz", "rt") as file:
        samples = [json.loads(line) for line in file]
    with open(DATA / "redteam" / "hatecheck" / "test_suite_cases.csv", newline="") as file:
        hatecheck = [Labelled("", row["test_case"], row["label_gold"] == "hateful") for row in csv.DictReader(file)]
    harmful = [Labelled("", row["prompt"], any(row.get(key) == 1 for key in row if key != "prompt")) for row in samples]
    found = [
        Style("refusal", "Falcon 40B on AlpacaEval, where it may refuse", True, alpaca_eval(["falcon-40b-instruct"])),
        Style("refusal", "PyRIT's refusal_extra, on the topic", True, of_pyrit["refusal_extra.csv", False]),
        Style("refusal", "PyRIT's refusal, on the topic", False, of_pyrit["refusal.csv", False]),
        Style("refusal", "PyRIT's answers off the topic, labelled as refusals", False, off_topic),
        Style("refusal", "Falcon 7B on AlpacaEval, where it may refuse", False, alpaca_eval(["falcon-7b-instruct"])),
        Style("refusal", "Vicuna 7B on AlpacaEval, where it may refuse", False, alpaca_eval(["vicuna-7b-v1.5"])),
        Style("refusal", "GPT-4 Turbo on AlpacaEval, where it may refuse", False, alpaca_eval(["gpt4_1106_preview"])),
        Style("refusal", "Alpaca 7B, AlpacaFarm, davinci-003, where they may refuse", False, alpaca_eval(SMALL)),
    ]
    if answers:
        found.append(Style("refusal", "SmolLM2 135M on XSTest's prompts", False, smollm(answers)))
    mirrored = [
        Style(
            "compliance", each.name, each.tuned_on, [Labelled(a.prompt, a.answer, not a.is_hit) for a in each.answers]
        )
        for each in found
    ]
    return [
        *found,
        *mirrored,
        Style("lexicon", "HateCheck's functional tests, hateful", False, hatecheck),
        Style("lexicon", "OpenAI's moderation samples, any category", False, harmful),
    ]


def agree(answers: Path | None) -> None:
    lines = ["# Written by benchmarks/redteam_judges.py agree, which says what the labels are.\n"]
    pooled: list[tuple[bool, bool]] = []
    for style in styles(answers):
        judge = offline_judge(style.judge)
        started = time.process_time()
        for _ in range(PASSES):
            said = [judge(each.prompt, each.answer).verdict == "hit" for each in style.answers]
        rate = PASSES * len(said) / (time.process_time() - started)
        by_hand = [each.is_hit for each in style.answers]
        pairs = list(zip(said, by_hand, strict=True))
        if style.judge == "refusal" and not style.tuned_on and "off the topic" not in style.name:
            pooled += pairs
        counts = {
            "true_positives": pairs.count((True, True)),
            "false_negatives": pairs.count((False, True)),
            "false_positives": pairs.count((True, False)),
            "true_negatives": pairs.count((False, False)),
        }
        accuracy, kappa = accuracy_and_kappa(pairs)
        lines += [
            f"[[{style.judge}]]",
            f"style = {json.dumps(style.name)}",
            f"tuned_on = {str(style.tuned_on).lower()}",
        ]
        lines += [f"{name} = {count}" for name, count in counts.items()]
        lines += [f"accuracy = {accuracy:.3f}", *([f"kappa = {kappa:.3f}"] if np.isfinite(kappa) else []), ""]
        print(
            f"{style.judge:<11}{style.name:<58}{'tuned on' if style.tuned_on else '':<9}{len(pairs):>5} answers, "
            f"{sum(by_hand):>4} hits: accuracy {accuracy:.3f} kappa {kappa:.3f}, {rate:,.0f} a CPU-second"
        )
    accuracy, kappa = accuracy_and_kappa(pooled)
    print(f"refusal, all held out together: {len(pooled)} answers, accuracy {accuracy:.3f} kappa {kappa:.3f}")
    TARGET.write_text("\n".join(lines))
    speed()


async def ask(objective: str, options: argparse.Namespace) -> None:
    """How a judge that is an engine agrees with the labels, style by style; what it left unscored is in no figure."""
    engines = (load(options.recipe, []) if options.recipe else judging()).engines
    judge = find_judge(objective, engines)
    if not isinstance(judge, EngineJudge):
        raise SystemExit(f"{objective}: no engine is asked for this judge; `agree` measures it.")
    options.folder.mkdir(parents=True, exist_ok=True)
    account = Account(judge.table_name, judge.table, "judge", options.folder, judge.name, judge=judge)
    try:
        for style in styles(options.answers):
            if style.judge == options.like:
                await ask_of_style(judge, account, style, options)
    finally:
        await account.close()
    print(f"${account.totals.usd:.4f}; its replies are in {options.folder}")


async def ask_of_style(judge: EngineJudge, account: Account, style: Style, options: argparse.Namespace) -> None:
    asked = [each for each in style.answers if each.answer.strip()][: options.most]
    requests = [judge.requests(str(number), each.prompt, each.answer) for number, each in enumerate(asked)]
    answers: dict[str, Reply | Failure] = {}
    with ProgressBar(style.name, sum(map(len, requests)), "verdicts") as bar:

        def taking(request: Request, answer: Reply | Failure) -> None:
            bar.advance()
            answers[request.id] = answer

        await account.ask([each for of_one in requests for each in of_one], options.max_usd, 0.0, bar, taking)
    said = [judge.read([answers[each.id] for each in of_one]).verdict for of_one in requests]
    pairs = [
        (verdict == "hit", each.is_hit) for verdict, each in zip(said, asked, strict=True) if verdict != "unscored"
    ]
    counts = " ".join(
        f"{name} {pairs.count(pair)}"
        for name, pair in (("TP", (True, True)), ("FN", (False, True)), ("FP", (True, False)), ("TN", (False, False)))
    )
    accuracy, kappa = accuracy_and_kappa(pairs) if pairs else (float("nan"), float("nan"))
    print(
        f"{style.name:<58}{len(pairs):>5} of {len(asked)} scored, {counts}: accuracy {accuracy:.3f} kappa {kappa:.3f}",
        flush=True,
    )


def accuracy_and_kappa(pairs: Sequence[tuple[bool, bool]]) -> tuple[float, float]:
    said, by_hand = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return float(np.mean(np.array(said) == by_hand)), cohen_kappa(said, by_hand)


def speed() -> None:
    """Verdicts a CPU-second by length: texts without a hit are read to their end."""
    sentence = "The quick brown fox jumps over the lazy dog, and everybody who saw it was as pleased as I am. "
    for objective in ("refusal", "lexicon", f"lexicon:{DATA / 'redteam' / 'ldnoobw' / 'en'}"):
        judge = offline_judge(objective)
        for length in (100, 1_000, 10_000, 50_000, 100_000):
            text = (sentence * (length // len(sentence) + 1))[:length]
            repeats = max(20, 2_000_000 // length)
            started = time.process_time()
            for _ in range(repeats):
                judge("", text)
            print(
                f"{objective.split('/')[0]:<11}{length:>8} characters: {repeats / (time.process_time() - started):,.0f}"
            )


def cover(studies: int) -> None:
    """How often 95% intervals hold what they are of, over simulated studies."""
    generator = np.random.default_rng(0)
    for prompts, techniques, rate, spread, of_techniques in (
        (50, 8, -1.0, 1.0, 0.5),
        (100, 8, -3.0, 1.0, 0.5),
        (100, 12, -2.0, 1.0, 0.7),
        (60, 5, -1.0, 1.0, 1.0),
    ):
        truth = float(np.mean(expit(rate + generator.normal(0, np.hypot(spread, of_techniques), 2_000_000))))
        inside = 0
        for _ in range(studies):
            inside += crossed_study_covers(generator, prompts, techniques, rate, spread, of_techniques, truth)
        print(f"rate {truth:.3f}, {prompts} prompts x {techniques} techniques: {inside / studies:.3f}", flush=True)
    for clusters, size, mean, correlation in (
        (100, 3, 0.1, 0.2),
        (100, 3, 0.01, 0.2),
        (50, 5, 0.05, 0.3),
        (200, 1, 0.02, 0.1),
    ):
        strength = 1 / correlation - 1
        rates: Callable[[int], np.ndarray] = lambda n, m=mean, s=strength: generator.beta(m * s, (1 - m) * s, n)  # noqa: E731
        for times in (10, 100):
            inside = 0
            for _ in range(studies // 4):
                forecast = forecast_hits(
                    generator.binomial(size, rates(clusters)), [size] * clusters, times, draws=4_000
                )
                to_come = generator.binomial(size, rates(clusters * times)).sum()
                inside += forecast.interval.low <= to_come <= forecast.interval.high
            print(f"forecast of {times} n, {clusters} x {size} at {mean}: {inside / (studies // 4):.3f}", flush=True)
    for trials, rate, found, hits, passed, others in (
        (300, 0.1, 0.9, 100, 0.95, 200),
        (300, 0.02, 0.8, 50, 0.97, 300),
        (1000, 0.3, 0.75, 60, 0.9, 60),
    ):
        inside = 0
        for _ in range(studies):
            observed = generator.binomial(trials, rate * found + (1 - rate) * (1 - passed)) / trials
            labels = (int(generator.binomial(hits, found)), hits), (int(generator.binomial(others, passed)), others)
            interval = rogan_gladen(observed, trials, *labels).interval
            inside += interval.low <= rate <= interval.high
        print(f"corrected rate {rate}, sensitivity {found}, specificity {passed}: {inside / studies:.3f}", flush=True)
    hold_back()


def crossed_study_covers(
    generator: np.random.Generator,
    prompts: int,
    techniques: int,
    rate: float,
    spread: float,
    of_techniques: float,
    truth: float,
) -> bool:
    """Every prompt with every technique; both have effects of their own on the logit of a hit."""
    effects = generator.normal(0, spread, prompts)[:, None] + generator.normal(0, of_techniques, techniques)
    hits = (generator.random((prompts, techniques)) < expit(rate + effects)).ravel().astype(float)
    prompt, technique = np.divmod(np.arange(prompts * techniques), techniques)
    interval = clustered_win_rate(hits.tolist(), prompt.tolist(), technique.tolist()).interval
    return interval.low <= truth <= interval.high


def hold_back(splits: int = 1_000) -> None:
    """Real verdicts: of AlpacaEval's 805 instructions, one part in eleven foretells the other ten."""
    judge, generator = offline_judge("refusal"), np.random.default_rng(0)
    models = sorted(LABELS["refuses"])
    hits = np.zeros((805, len(models)), dtype=int)
    for column, model in enumerate(models):
        outputs = json.loads((DATA / "alpaca_eval" / "results" / model / "model_outputs.json").read_text())
        for row, output in enumerate(outputs):
            hits[row, column] = judge(output["instruction"], output["output"]).verdict == "hit"
    found, inside = hits.sum(axis=1), 0
    for _ in range(splits):
        order = generator.permutation(805)
        forecast = forecast_hits(found[order[:73]], [len(models)] * 73, 10, draws=4_000)
        inside += forecast.interval.low <= found[order[73:803]].sum() <= forecast.interval.high
    share = found.sum() / hits.size
    print(f"held back: {inside / splits:.3f} of {splits} splits, {share:.3f} of {hits.size:,} answers are hits")


async def answer(path: Path) -> None:
    with open(DATA / "redteam" / "xstest" / "xstest_prompts.csv", newline="") as file:
        prompts = {row["id"]: row["prompt"] for row in csv.DictReader(file)}
    requests = [
        Request(number, (Message("user", prompt),), Sampling(90, 0.2, 0.9, seed=int(number)))
        for number, prompt in prompts.items()
    ]
    replies = {}
    async for reply in open_engine(f"local:{SMOLLM}").complete(requests):
        replies[reply.id] = "" if isinstance(reply, Failure) else reply.text
    rows = [{"id": int(number), "prompt": prompts[number], "answer": replies[number]} for number in prompts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(f"{path}: SHA-256 {sha256(path.read_bytes()).hexdigest()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("answer").add_argument("path", type=Path)
    verbs.add_parser("agree").add_argument("--answers", type=Path)
    verbs.add_parser("cover").add_argument("--studies", type=int, default=10_000)
    asking = verbs.add_parser("ask")
    asking.add_argument("judge")
    asking.add_argument("--like", choices=("refusal", "compliance", "lexicon"), default="refusal")
    asking.add_argument("--answers", type=Path)
    asking.add_argument("--recipe", type=Path)
    asking.add_argument("--max-usd", type=float)
    asking.add_argument("--most", type=int, help="of each style")
    asking.add_argument("--folder", type=Path, default=Path("runs/redteam-judges"))
    options = parser.parse_args()
    if options.verb == "answer":
        asyncio.run(answer(options.path))
    elif options.verb == "ask":
        asyncio.run(ask(options.judge, options))
    elif options.verb == "agree":
        agree(options.answers)
    else:
        cover(options.studies)


if __name__ == "__main__":
    main()
