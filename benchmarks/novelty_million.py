"""Novelty against a pool of a million texts: time, memory, and whether anything is missed, as docs/generate.md reports.

`OMP_NUM_THREADS=1 python benchmarks/novelty_million.py ALPACA_DATA.json [POOL_SIZE]`

The pool is made, by a seed, from all released instructions but every hundredth: words are replaced, dropped or put in,
and in three of ten texts two instructions are joined first. The candidates are instructions mutated by as much or more
and, as fresh ones, instructions held out; apart from these stand lists of words drawn at random, which no teacher
writes and which are near to nothing: the hardest case. Process time on one thread, for `is_novel` and for `nearest`.

Recall is against brute force: the longest common subsequence (rapidfuzz) of each candidate with every text of the pool,
on codes made here, so that no bound or index of pacos has a part in it.
"""

import json
import random
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from pacos.text import Novelty, rouge_tokens

EACH = 60
SHARES = (0.1, 0.3, 0.5, 0.8)


def mutated(text: str, share: float, words: list[str], rng: random.Random) -> str:
    """The text with about `share` of its words replaced (six of ten), dropped or followed by another."""
    made = []
    for word in text.split():
        at = rng.random() / share
        if at >= 0.8:
            made.append(word)
        if at < 0.6 or 0.8 <= at < 1:
            made.append(rng.choice(words))
    return " ".join(made)


def pool_text(texts: list[str], words: list[str], rng: random.Random) -> str:
    """One text of the pool."""
    text = rng.choice(texts)
    if rng.random() < 0.3:
        head, tail = text.split(), rng.choice(texts).split()
        text = " ".join(head[: len(head) // 2] + tail[len(tail) // 2 :])
    return mutated(text, rng.choice((0.1, 0.3, 0.5)), words, rng)


def peak_gb() -> float:
    """The most memory this process has held so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


class BruteForce:
    """Scores a text against every text of a pool."""

    def __init__(self, texts: list[str]) -> None:
        self._letters: dict[str, str] = {}
        self._codes = [self._code(text) for text in texts]
        self._lengths = np.array([len(code) for code in self._codes])

    def best(self, text: str) -> tuple[float, int]:
        """The highest ROUGE-L F, with rouge_score's operations in their order, and the first row that has it."""
        code = self._code(text)
        common = cdist([code], self._codes, scorer=LCSseq.similarity, dtype=np.int32)[0]
        precision, recall = common / np.maximum(self._lengths, 1), common / max(len(code), 1)
        scores = 2 * precision * recall / np.where(common > 0, precision + recall, 1.0)
        row = int(scores.argmax())
        return float(scores[row]), row

    def _code(self, text: str) -> str:
        return "".join(self._letters.setdefault(t, chr(0x10000 + len(self._letters))) for t in rouge_tokens(text))


def timed(ask: Callable[[str], object], candidates: list[str]) -> np.ndarray:
    """Milliseconds of process time for each candidate."""
    times = []
    for text in candidates:
        start = time.process_time()
        ask(text)
        times.append(time.process_time() - start)
    return np.array(times) * 1000


def main() -> None:
    """Builds the pool, times both questions, and compares every answer with brute force."""
    with open(sys.argv[1], encoding="utf-8") as file:
        released = [record["instruction"] for record in json.load(file)]
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    rng = random.Random(0)
    held_out, texts = released[::100], [text for row, text in enumerate(released) if row % 100]
    words = [word for text in texts for word in text.split()]
    before = peak_gb()
    start = time.process_time()
    pool = [pool_text(texts, words, rng) for _ in range(size)]
    made = time.process_time()
    novelty = Novelty(0.7)
    for text in pool:
        novelty.add(text)
    built = time.process_time()
    kinds = {
        f"{share:.0%} mutated": [mutated(rng.choice(texts), share, words, rng) for _ in range(EACH)] for share in SHARES
    }
    kinds["fresh"] = rng.sample(held_out, EACH)
    kinds["random words"] = [" ".join(rng.choices(words, k=rng.randint(4, 25))) for _ in range(EACH)]
    print(f"pool of {size:,}: made in {made - start:.1f} s, added in {built - made:.1f} s")
    tellers: tuple[tuple[str, Callable[[str], object]], ...] = (
        ("is_novel", novelty.is_novel),
        ("nearest", novelty.nearest),
    )
    for name, ask in tellers:
        times = {kind: timed(ask, candidates) for kind, candidates in kinds.items()}
        real = np.concatenate([values for kind, values in times.items() if kind != "random words"])
        print(f"{name}: mean {real.mean():.2f}, median {np.median(real):.2f}, 95% {np.percentile(real, 95):.2f} ms")
        print("  mean of each kind:", ", ".join(f"{kind} {values.mean():.2f}" for kind, values in times.items()))
    print(f"peak memory {peak_gb():.2f} GB, {before:.2f} GB of it before the pool was made")
    compare(novelty, pool, [text for candidates in kinds.values() for text in candidates])


def compare(novelty: Novelty, pool: list[str], candidates: list[str]) -> None:
    """Prints recall and every difference from brute force."""
    brute = BruteForce(pool)
    near = found = wrong = 0
    for text in candidates:
        score, row = brute.best(text)
        near += score > novelty.threshold
        found += score > novelty.threshold and not novelty.is_novel(text)
        wrong += novelty.nearest(text) != (score, pool[row] if score else None)
        wrong += novelty.is_novel(text) != (score <= novelty.threshold)
    print(f"recall {found / near:.3f} ({found} of {near} near ones among {len(candidates)} candidates)")
    print(f"answers that differ from brute force (decision, score or nearest text): {wrong}")


if __name__ == "__main__":
    main()
