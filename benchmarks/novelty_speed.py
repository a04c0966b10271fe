"""Novelty against the rouge-score package at the size of the released data, as docs/generate.md reports.

`OMP_NUM_THREADS=1 python benchmarks/novelty_speed.py ALPACA_DATA.json USER_ORIENTED_INSTRUCTIONS.jsonl`

The pool is the 52,002 released instructions. Three of four candidates are such instructions with words replaced,
dropped or put in; the fourth is fresh: an instruction of Self-Instruct's evaluation set. Lists of words drawn at
random, the hardest case, are timed apart. rouge-score is asked as the released code asks it: the pool is cut into
tokens beforehand, and each candidate's tokens are scored against every text (`RougeScorer(["rougeL"])`, no stemmer,
`_score_lcs`), here on one core. Both sides answer in one process; decision and highest score are compared.
"""

import json
import random
import sys
import time
from collections.abc import Callable

import numpy as np
from novelty_million import SHARES, mutated
from rouge_score import rouge_scorer

from pacos.text import Novelty

FOR_ROUGE_SCORE, FOR_PACOS = 24, 4800


def timed(ask: Callable[[str], object], candidates: list[str]) -> tuple[list, np.ndarray]:
    """The answers, and the process time of each in seconds."""
    answers, times = [], []
    for text in candidates:
        start = time.process_time()
        answers.append(ask(text))
        times.append(time.process_time() - start)
    return answers, np.array(times)


def main() -> None:
    """Prints means and medians of both sides and whether they agree."""
    with open(sys.argv[1], encoding="utf-8") as file:
        texts = [record["instruction"] for record in json.load(file)]
    words = [word for text in texts for word in text.split()]
    rng = random.Random(0)
    with open(sys.argv[2], encoding="utf-8") as file:
        fresh = [json.loads(line)["instruction"] for line in file]
    candidates = [
        rng.choice(fresh) if number % 4 == 3 else mutated(rng.choice(texts), rng.choice(SHARES), words, rng)
        for number in range(FOR_PACOS)
    ]
    random_words = [" ".join(rng.choices(words, k=rng.randint(4, 25))) for _ in range(FOR_PACOS // 4)]
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    pool_tokens = [scorer._tokenizer.tokenize(text) for text in texts]
    novelty = Novelty(0.7)
    for text in texts:
        novelty.add(text)

    def best_of_rouge_score(text: str) -> float:
        tokens = scorer._tokenizer.tokenize(text)
        return max(rouge_scorer._score_lcs(tokens, others).fmeasure for others in pool_tokens)

    expected, theirs = timed(best_of_rouge_score, candidates[:FOR_ROUGE_SCORE])
    print(f"rouge-score: mean {theirs.mean() * 1e3:.0f} ms, median {np.median(theirs) * 1e3:.0f} ms a candidate")
    for name, ask in (("is_novel", novelty.is_novel), ("nearest", novelty.nearest)):
        answers, times = timed(ask, candidates)
        for best, answer in zip(expected, answers, strict=False):
            assert answer == (best <= 0.7) if name == "is_novel" else answer[0] == best
        means, medians = theirs.mean() / times.mean(), np.median(theirs) / np.median(times)
        print(
            f"{name}: mean {times.mean() * 1e6:.0f} µs, median {np.median(times) * 1e6:.0f} µs over {len(times):,}; "
            f"{means:,.0f} times as fast by means, {medians:,.0f} by medians; "
            f"random words: mean {timed(ask, random_words)[1].mean() * 1e6:.0f} µs"
        )
    print(f"{FOR_ROUGE_SCORE} candidates agree in decision and score, {sum(best > 0.7 for best in expected)} are near")


if __name__ == "__main__":
    main()
