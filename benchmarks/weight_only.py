"""What weights of 8 or 4 bits would cost and bring a local engine on a CPU, against bf16.

    python benchmarks/weight_only.py MODEL TEXTS.json [RECORDS [ROUNDS [THREADS]]]

TEXTS is a list of records with an "output", such as Alpaca's data; every so-many-th is read. For each way to hold the
weights: negative log-likelihood a token by the engine's own echo and its difference to bf16 with a 95% interval over
records, how often the likeliest token is bf16's, bytes of weights, and new tokens a second at 1, 8 and 32 rows. Timings
are taken in interleaved rounds within one process; `cpu` is the process's own time, which other load disturbs less.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from pacos.engines import Reply, Request, Sampling
from pacos.engines.local import lean_network
from pacos.engines.local.cache import KVCache
from pacos.engines.local.checkpoint import load_checkpoint
from pacos.engines.local.engine import LocalEngine
from pacos.engines.local.lean_network import LeanNetwork
from pacos.engines.local.linear import Int8Linear, Linear, make_linear
from pacos.statistics import bootstrap_interval

HEAD_ROWS = 16_384
"""A matrix with more outputs than this is the head."""
PLACE = 100
ROWS = (1, 8, 32)


class Int8:
    """Weights of 8 bits, one scale an output; multiplied as bf16."""

    def __init__(self, weight: Tensor) -> None:
        self.scales = weight.abs().amax(1) / 127
        self.weight = (weight / self.scales[:, None]).round().to(torch.int8)
        self.scales = self.scales.bfloat16()
        self.bytes = self.weight.nbytes + self.scales.nbytes

    def __call__(self, x_NE: Tensor, add: Tensor | None = None) -> Tensor:
        """The product."""
        product = torch.ops.aten._weight_int8pack_mm(x_NE.contiguous(), self.weight, self.scales)
        return cast(Tensor, product if add is None else product.add_(add))


class Int8Rows:
    """Weights of 8 bits, and inputs rounded to 8 bits by a scale of each row's own: `weights = "int8"` of an engine."""

    def __init__(self, weight: Tensor) -> None:
        self.linear = Int8Linear(weight, None)
        # FBGEMM keeps with each output its scale, its zero and the sum of its weights.
        self.bytes = weight.numel() + 12 * len(weight)

    def __call__(self, x_NE: Tensor, add: Tensor | None = None) -> Tensor:
        """The product."""
        return self.linear(x_NE, add)


class Int8Once:
    """The same by oneDNN, whose plain 8-bit tensors no release of torch is about to drop."""

    def __init__(self, weight: Tensor) -> None:
        self.scales = (weight.abs().amax(1) / 127).float()
        rounded = (weight / self.scales[:, None]).round().to(torch.int8)
        self.packed = torch.ops.onednn.qlinear_prepack(rounded, None)
        self.zeros = torch.zeros(len(weight), dtype=torch.int32)
        self.middle = torch.tensor(128.5)
        self.bytes = weight.numel() + 8 * len(weight)

    def __call__(self, x_NE: Tensor, add: Tensor | None = None) -> Tensor:
        """The product."""
        steps = torch.linalg.vector_norm(x_NE, torch.inf, dim=1, keepdim=True, dtype=torch.float32)
        steps = steps.mul_(1 / 127).clamp_min_(1e-30)
        rounded = torch.addcdiv(self.middle, x_NE.float(), steps).to(torch.uint8)
        multiply: Any = torch.ops.onednn.qlinear_pointwise
        product = multiply(
            rounded, 1.0, 128, self.packed, self.scales, self.zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        scaled = product.mul_(steps) if add is None else torch.addcmul(add, product, steps)
        return cast(Tensor, scaled.to(x_NE.dtype))


class Int4:
    """Weights of 4 bits, one scale for each `group` of inputs of an output; multiplied as bf16."""

    def __init__(self, weight: Tensor, group: int) -> None:
        groups = weight.view(len(weight), -1, group)
        scales = groups.abs().amax(2) / 7
        rounded = (groups / scales[..., None]).round().clamp(-8, 7) + 8
        pack: Any = torch.ops.aten._convert_weight_to_int4pack_for_cpu
        self.group = group
        self.packed = pack(rounded.view_as(weight).int(), 1)
        self.scales = torch.stack([scales, torch.zeros_like(scales)], -1).transpose(0, 1).contiguous().bfloat16()
        self.bytes = self.packed.nbytes + self.scales.nbytes

    def __call__(self, x_NE: Tensor, add: Tensor | None = None) -> Tensor:
        """The product."""
        product = torch.ops.aten._weight_int4pack_mm_for_cpu(x_NE.contiguous(), self.packed, self.group, self.scales)
        return cast(Tensor, product if add is None else product.add_(add))


WAYS: dict[str, tuple[Callable[[Tensor], Any] | None, Callable[[Tensor], Any] | None]] = {
    # (of a layer's matrices, of the head); None is bf16.
    "bf16": (None, None),
    "int8": (Int8, Int8),
    "int8 head": (None, Int8),
    "int8 rows": (Int8Rows, Int8Rows),
    "int8 rows, onednn": (Int8Once, Int8Once),
    "int8 rows head": (None, Int8Rows),
    "int4 g32": (lambda weight: Int4(weight, 32), lambda weight: Int4(weight, 32)),
    "int4 g32, int8 head": (lambda weight: Int4(weight, 32), Int8),
}


class Held:
    """make_linear's stand-in, which counts the bytes held."""

    def __init__(self, way: str) -> None:
        self.layer, self.head = WAYS[way]
        self.bytes = 0

    def __call__(self, modules: Sequence[Any], keep: bool = False, in_int8: bool = False) -> Linear:
        """See make_linear."""
        weight = torch.cat([module.weight.detach().float() for module in modules])
        make = self.head if len(weight) > HEAD_ROWS else self.layer
        if make is None:
            self.bytes += 2 * weight.numel()
            return make_linear(modules, keep)
        made = make(weight)
        self.bytes += made.bytes
        return cast(Linear, made)


def likelihoods(model: str, way: str, texts: Sequence[str]) -> tuple[list[list[float]], list[list[int]]]:
    """For each text: log-probabilities of its tokens, and the likeliest token at each place."""
    vars(lean_network)["make_linear"] = Held(way)
    engine = LocalEngine(model, precision="bf16")
    asked = [Request(str(n), text, Sampling(0, temperature=0.0), logprobs=1, echo=True) for n, text in enumerate(texts)]

    async def read() -> dict[str, Reply]:
        found = {answer.id: answer async for answer in engine.complete(asked) if isinstance(answer, Reply)}
        await engine.close()
        return found

    replies = asyncio.run(read())
    told = [[token for token in replies[each.id].prompt_logprobs if token.logprob is not None] for each in asked]
    values = [[cast(float, token.logprob) for token in tokens] for tokens in told]
    return values, [[token.top[0][0] for token in tokens] for tokens in told]


def speeds(model: str, rounds: int) -> None:
    """Milliseconds of one step of every way, and the new tokens a second they make."""
    networks: dict[str, LeanNetwork] = {}
    for way in WAYS:
        held = Held(way)
        vars(lean_network)["make_linear"] = held
        networks[way] = cast(LeanNetwork, load_checkpoint(model, "bf16").network)
        print(f"{way:<22}{held.bytes / 1e6:8.1f} MB of matrices")
    for rows in ROWS:
        wall: dict[str, list[float]] = {way: [] for way in WAYS}
        own: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, lean in networks.items():
                cache = KVCache(lean.shapes, lean.dtype, lean.device)
                cache.reserve(rows, PLACE + 64)
                for _ in range(3):
                    start, cpu = time.perf_counter(), time.process_time()
                    lean.logits(cache, list(range(100, 100 + rows)), [PLACE] * rows, [], range(rows))
                    own[way].append(time.process_time() - cpu)
                    wall[way].append(time.perf_counter() - start)
        for way in WAYS:
            least, middle = min(wall[way]), statistics.median(wall[way])
            cpu_ms = f"cpu least {1e3 * min(own[way]):.1f} ms, median {1e3 * statistics.median(own[way]):.1f}"
            said = f"step least {1e3 * least:.1f} ms, median {1e3 * middle:.1f}; {cpu_ms}"
            rates = f"{rows / least:7.1f} tokens/s at best, {rows / middle:.1f} in the middle"
            print(f"{rows:>2} rows {way:<22}{rates}; {said}")


def main() -> None:
    """Prints quality, then speed."""
    model, path = sys.argv[1:3]
    records, rounds, threads = (int(given) for given in [*sys.argv[3:], *("300", "15", "2")[len(sys.argv) - 3 :]])
    torch.set_num_threads(threads)
    outputs = [record["output"] for record in json.loads(Path(path).read_text(encoding="utf-8"))]
    outputs = [text[:400] for text in outputs if len(text) >= 40]
    texts = outputs[:: len(outputs) // records][:records] if records else []
    base: tuple[list[list[float]], list[list[int]]] | None = None
    for way in WAYS if texts else ():
        found = likelihoods(model, way, texts)
        base = base or found
        # A record's difference, weighed by its tokens: the mean over tokens of resampled records.
        tokens = [text for text, values in enumerate(found[0]) for _ in values]
        loss = [-value for values in found[0] for value in values]
        worse = [
            was - value
            for before, after in zip(base[0], found[0], strict=True)
            for was, value in zip(before, after, strict=True)
        ]
        same = [
            one == other
            for before, after in zip(base[1], found[1], strict=True)
            for one, other in zip(before, after, strict=True)
        ]
        interval = bootstrap_interval(worse, tokens)
        print(
            f"{way:<22}{statistics.fmean(loss):.4f} nats a token of {len(loss):,}, "
            f"{statistics.fmean(worse):+.4f} {interval} against bf16; "
            f"the same likeliest token at {statistics.fmean(same):.2%}",
            flush=True,
        )
    with torch.inference_mode():
        if rounds:
            speeds(model, rounds)


if __name__ == "__main__":
    main()
