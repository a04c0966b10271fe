"""The detector against transformers' WatermarkDetector: 200 sequences of 200 tokens, the same figures for each.

    python benchmarks/watermark_detector.py [--model smollm2-135m] [--rounds 3]

`lefthash`, gamma 0.25, the published key, the model's vocabulary (SmolLM2's 49,152; `pacos fetch smollm2-135m` first).
A hundred sequences are windows of this project's documentation; a hundred are drawn from its word frequencies through
the mark. Both detectors ignore repeated n-grams and begin with nothing remembered in every round; process time on one
thread, medians. Beside it is what one sequence at a time takes, as `pacos detect` does it.
"""

import argparse
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable

import torch
from engine_speed import documentation_ids, windows
from transformers import AutoConfig, WatermarkDetector, WatermarkingConfig

from pacos.core.models import resolve_model
from pacos.watermark import Watermark
from pacos.watermark.watermark import DEFAULT_KEY

SEQUENCES, TOKENS = 200, 200


def sequences(ids: list[int], vocab_size: int) -> list[list[int]]:
    plain = windows(ids, [TOKENS] * (SEQUENCES // 2), random.Random(0))
    logits_V = torch.full((vocab_size,), -torch.inf)
    for token, count in Counter(ids).items():
        logits_V[token] = torch.tensor(float(count)).log()
    torch.manual_seed(0)
    mark, written = Watermark("lefthash", vocab_size), torch.tensor([[window[0]] for window in plain])
    while written.shape[1] < TOKENS:
        marked_BV = mark.apply(written, logits_V.expand(len(plain), -1))
        written = torch.cat([written, torch.multinomial(marked_BV.softmax(-1), 1)], dim=1)
    return plain + written.tolist()


def timed(what: Callable[[], object], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        what()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path = resolve_model(arguments.model)
    config = AutoConfig.from_pretrained(path)
    given = sequences(documentation_ids(path), config.vocab_size)
    peer_config = WatermarkingConfig(
        greenlist_ratio=0.25, bias=2.0, hashing_key=DEFAULT_KEY, seeding_scheme="lefthash", context_width=1
    )

    def theirs() -> object:
        detector = WatermarkDetector(config, "cpu", peer_config, ignore_repeated_ngrams=True)
        return detector(torch.tensor(given), z_threshold=4.0, return_dict=True)

    def ours(scheme: str = "lefthash") -> object:
        return Watermark(scheme, config.vocab_size).detect_all(given)

    def one_by_one() -> object:
        mark = Watermark("lefthash", config.vocab_size)
        return [mark.detect(each) for each in given]

    found, expected = ours(), theirs()
    same = sum(
        (one.num_tokens_scored, one.num_green_tokens, one.z_score > 4)
        == (
            int(expected.num_tokens_scored[place]),
            int(expected.num_green_tokens[place]),
            bool(expected.prediction[place]),
        )
        for place, one in enumerate(found)
    )
    print(
        f"{same} of {SEQUENCES} have the same tokens scored, green tokens and verdict at z = 4; "
        f"{sum(one.z_score > 4 for one in found)} are over it"
    )
    peer = timed(theirs, arguments.rounds)
    print(f"transformers             {peer / SEQUENCES * 1000:7.2f} ms a sequence")
    for name, what in (
        ("pacos, all at once", ours),
        ("pacos, one by one", one_by_one),
        ("pacos threefry, at once", lambda: ours("threefry")),
    ):
        seconds = timed(what, arguments.rounds)
        print(f"{name:<25}{seconds / SEQUENCES * 1000:7.2f} ms a sequence, {peer / seconds:.0f} times as fast")


if __name__ == "__main__":
    main()
