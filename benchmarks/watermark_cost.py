"""What the watermark costs and how often it is seen where it is not, as docs/watermark.md reports.

`python benchmarks/watermark_cost.py [ALPACA_DATA.json LLAMA_TOKENIZER.model]`

The cost of a marked row and of a detection, in process time on one thread; and, given real text that nobody marked, how
often it looks marked.
"""

import json
import sys
import time

import sentencepiece
import torch

from pacos.watermark import Watermark


def cost(scheme: str, vocab_size: int, batch: int = 8, steps: int = 100) -> None:
    mark = Watermark(scheme, vocab_size)
    ids, logits = torch.randint(0, vocab_size, (steps, batch, 16)), torch.randn(batch, vocab_size)
    tokens = torch.randint(0, vocab_size, (200,)).tolist()
    mark.detect(tokens)
    start = time.process_time()
    for step in range(steps):
        mark.apply(ids[step], logits)
    middle = time.process_time()
    for step in range(steps):
        mark.apply(ids[step], logits)
    end = time.process_time()
    mark.detect(tokens)
    new, again = ((b - a) / steps / batch * 1000 for a, b in ((start, middle), (middle, end)))
    detect = (time.process_time() - end) * 1000
    print(f"{vocab_size} {scheme}: {new:.2f} ms a row new, {again:.2f} again; {detect:.1f} ms to detect 200 tokens")


def false_alarms(scheme: str, texts: list[list[int]]) -> None:
    mark = Watermark(scheme, 32000)
    found = [detection for detection in map(mark.detect, texts) if detection.verdict != "insufficient text"]
    alarms = sum(detection.verdict == "watermarked" for detection in found)
    exact = sum(detection.exact_p_value < 0.01 for detection in found) / len(found)
    normal = sum(detection.p_value < 0.01 for detection in found) / len(found)
    print(f"{scheme}: {alarms} of {len(found)} unmarked texts; p < 0.01 in {exact:.2%} (exact), {normal:.2%} (normal)")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for vocab_size in (4096, 32000):
        for scheme in ("simple_1", "selfhash"):
            cost(scheme, vocab_size)
    if len(sys.argv) == 3:
        tokenizer = sentencepiece.SentencePieceProcessor(model_file=sys.argv[2])
        with open(sys.argv[1], encoding="utf-8") as file:
            texts = [tokenizer.encode(record["output"]) for record in json.load(file)[::9]]
        for scheme in ("simple_1", "selfhash"):
            false_alarms(scheme, texts)
