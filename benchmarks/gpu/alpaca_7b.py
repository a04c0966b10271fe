"""How long would the steps of Alpaca 7B take on this machine's GPU? One command, under ten minutes, one result file.

    python benchmarks/gpu/alpaca_7b.py [--out FILE] [--steps 100]
    python benchmarks/gpu/alpaca_7b.py --lengths-from FOLDER     # writes alpaca_lengths.bin anew from the real data

Needs PyTorch and transformers only (Python 3.11, and on a GPU the C compiler that Triton wants). First a small model's
gradients are compared with fp32 on the CPU, and the compiled 8-bit update with the plain one. Then a randomly
initialised LLaMA 7B (split weights, 8-bit states) takes the recipe's own steps, by the stage's own loop and with the
same deterministic kernels: the 52,001 trainable examples' real lengths in the real order, with random tokens, without
and with the shared prefix. Of each, warm-up and then `steps` whole optimizer steps are timed, fewer where ten minutes
are too short; the three epochs are 1,218 times their median, without loading, compiling, held-out loss and checkpoints.
On a machine without CUDA a small model takes a few steps, and the result says that it is no measurement of a GPU.
"""

import argparse
import array
import platform
import statistics
import sys
import tempfile
import time
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from pacos.core.recipe import TrainTable
from pacos.train import attention
from pacos.train.data import Document
from pacos.train.loop import Loop
from pacos.train.loss import row_loss
from pacos.train.machine import Team, compile_layers, open_team, peak_flops, peak_memory_bytes, same_bits_again
from pacos.train.memory import estimate_memory
from pacos.train.optimizer import AdamW, join, split, update_8bit
from pacos.train.packing import Packer, Row, row_fill, step_documents

LENGTHS = Path(__file__).with_name("alpaca_lengths.bin")
STEPS_OF_THE_RUN = 1218
WARM_UP = 3
# LLaMA's tokens before the instruction, in prompts with and without an input.
PREFIX_TOKENS = (39, 29)
LLAMA_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
SMALL = {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4, "num_attention_heads": 4}
VOCABULARY = 32_001
# Since the beginning: when the steps of each variant end, done or not.
DEADLINES = {"whole": 300.0, "shared": 540.0}


def write_lengths(data: Path) -> None:
    """Of every trainable example its tokens, masked tokens and whether it has an input."""
    from pacos.engines.local.tokenizer import load_tokenizer
    from pacos.train.data import load_data, shared_prefixes

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.model").symlink_to((data / "llama" / "tokenizer.model").resolve())
        tokenizer = load_tokenizer(folder)
    loaded = load_data(data / "alpaca" / "alpaca_data.json", TrainTable(mode="alpaca-2023"), tokenizer)
    prefixes = shared_prefixes(tokenizer)
    assert tuple(map(len, prefixes)) == PREFIX_TOKENS, prefixes
    packer = Packer(1, prefixes)
    numbers = array.array("H")
    for document in loaded.documents:
        prefix = packer.prefix_of(document)
        numbers.extend((len(document.input_ids), document.num_masked, 2 if prefix is None else prefix))
    LENGTHS.write_bytes(zlib.compress(numbers.tobytes(), 9))


def alpaca() -> tuple[list[Document], tuple[tuple[int, ...], ...]]:
    """Documents of the real lengths and order; their tokens are random but for the prefixes."""
    numbers = array.array("H", zlib.decompress(LENGTHS.read_bytes()))
    generator = torch.Generator().manual_seed(0)
    pool = torch.randint(3, 32_000, (1_000_000,), generator=generator).tolist()
    prefixes = tuple(tuple(pool[start : start + size]) for start, size in zip((0, 100), PREFIX_TOKENS, strict=True))
    documents = []
    for number in range(0, len(numbers), 3):
        length, masked, kind = numbers[number : number + 3]
        head = prefixes[kind] if kind < 2 else ()
        start = (number * 7919) % 900_000
        documents.append(Document(str(number // 3), [*head, *pool[start : start + length - len(head)]], masked))
    return documents, prefixes


def check_numerics(device: torch.device, prefixes: tuple[tuple[int, ...], ...], documents: list[Document]) -> list[str]:
    """Loss and gradients of a small model: fp32 on the CPU against split weights on the device."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=VOCABULARY, **SMALL | {"num_hidden_layers": 2}, attn_implementation=attention.NAME)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict({name: tensor.bfloat16().float() for name, tensor in model.state_dict().items()})
    batch, lines, found = documents[:24], [], {}
    cpu = torch.device("cpu")
    for name, where, dtype, shared, compiled in (
        ("fp32, CPU", cpu, torch.float32, (), False),
        ("fp32, CPU, shared prefix", cpu, torch.float32, prefixes, False),
        (f"bf16, {device.type}", device, torch.bfloat16, (), False),
        (f"bf16, {device.type}, shared prefix", device, torch.bfloat16, prefixes, False),
        (f"bf16, {device.type}, shared prefix, compiled", device, torch.bfloat16, prefixes, True),
    ):
        if compiled:
            compile_layers(model)
        model.to(where, dtype)
        model.zero_grad()
        same_bits_again(model)
        precision = "fp32" if dtype == torch.float32 else "split"
        loop = Loop(
            model,
            AdamW(model, 0.0, {}, False),
            TrainTable(),
            Team(0, 1, where, None),
            Packer(2048, shared),
            precision,
            1.0,
        )
        loss = loop.accumulate(batch)[0]
        gradient = torch.cat([parameter.grad.flatten().float().cpu() for parameter in model.parameters()])
        found[name] = gradient
        reference = found["fp32, CPU"]
        error = float((gradient - reference).norm() / reference.norm())
        lines.append(f"| {name} | {loss:.6f} | {error:.2e} |")
        limit = 1e-5 if precision == "fp32" else 0.05
        assert error < limit, f"{name}: gradients are {error:.2e} from fp32's, expected under {limit}"
    return lines


def check_update(device: torch.device) -> str:
    """Ten 8-bit updates of split weights: compiled for the device, as the stage takes them on a GPU, against plain."""
    wholes = []
    for update in (update_8bit, torch.compile(update_8bit, dynamic=False)):
        generator = torch.Generator().manual_seed(0)
        start = torch.randn(512, 1000, generator=generator)
        weight, remainder = (bits.to(device) for bits in split(start))
        state = {"remainder": remainder, "step": torch.zeros((), device=device)}
        for name, kind in (("exp_avg", torch.int8), ("exp_avg_sq", torch.uint8)):
            state[name] = torch.zeros(512, 1000, dtype=kind, device=device)
            state[f"{name}_scale"] = torch.zeros(512, 4, device=device)
        for step in range(10):
            gradient = torch.randn(512, 1000, generator=generator).bfloat16().to(device)
            update(weight, gradient, state, *torch.tensor([1e-4 * step, 0.01, 0.5], device=device))
        wholes.append(join(weight, state["remainder"]).cpu() - start)
    error = float((wholes[1] - wholes[0]).norm() / wholes[0].norm())
    # Where a sum lies between two levels, another order of operations takes the other one.
    assert error < 0.01, f"compiled, ten 8-bit updates are {error:.2e} from the plain ones, expected under 0.01"
    return f"Ten 8-bit updates of split weights, compiled against plain: relative difference {error:.2e}."


def build(team: Team, shape: dict[str, int], row_tokens: int) -> Loop:
    """A model of random weights with all that trains it, as the stage puts them together."""
    device = team.device
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=VOCABULARY, **shape, attn_implementation=attention.NAME)
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    if device.type == "cuda":
        compile_layers(model)
    same_bits_again(model)
    # A fresh model's fp32 weights are its bf16 ones: nothing remains.
    remainders = {parameter: torch.zeros_like(parameter) for parameter in model.parameters()}
    optimizer = AdamW(model, 0.0, remainders, eight_bit=True)
    fill = row_fill(row_tokens, device)
    packer = Packer(row_tokens - row_tokens % fill, fill=fill)
    return Loop(model, optimizer, TrainTable(mode="alpaca-2023"), team, packer, "split", peak_flops(device, "split"))


def compile_lengths(loop: Loop, documents: list[Document], steps: int) -> tuple[int, float]:
    """Computes one row of each length that the steps will have; how many these are, and the seconds it took."""
    begin = time.monotonic()
    rows: dict[int, Row] = {}
    for step in range(steps):
        batch = step_documents(documents, step, loop.table)
        rows |= {row.inputs["input_ids"].shape[1]: row for row in loop.packer.pack(batch, [1e-4] * len(batch))}
    for row in rows.values():
        row_loss(loop.model, row.to(loop.team.device)).backward()
    loop.model.zero_grad()
    return len(rows), time.monotonic() - begin


def timed(
    loop: Loop, documents: list[Document], prefixes: tuple[tuple[int, ...], ...], steps: int, deadline: float
) -> dict[str, float]:
    """Whole optimizer steps, as many as asked for or as fit the time."""
    loop = replace(loop, packer=replace(loop.packer, prefixes=prefixes))
    lengths, compiling = compile_lengths(loop, documents, WARM_UP + steps)
    seconds, mfu, unshared, losses = [], [], [], []
    for step in range(WARM_UP + steps):
        batch = step_documents(documents, step, loop.table)
        begin = time.perf_counter()
        taken = loop.step(batch, 2e-5, step + 1)
        if loop.team.device.type == "cuda":
            torch.cuda.synchronize()
        took = time.perf_counter() - begin
        if step >= WARM_UP:
            seconds.append(took)
            mfu.append(loop.mfu(taken.computed_tokens, taken.labels, took))
            unshared.append(loop.mfu(taken.real_tokens, taken.labels, took))
            losses.append(taken.loss)
        if time.monotonic() > deadline and seconds:
            break
    middle = statistics.median(seconds)
    return {
        "steps": len(seconds), "seconds": middle, "minutes": middle * STEPS_OF_THE_RUN / 60,
        "mean_minutes": statistics.mean(seconds) * STEPS_OF_THE_RUN / 60, "mfu": statistics.median(mfu),
        "unshared": statistics.median(unshared), "last_loss": losses[-1], "lengths": lengths, "compiling": compiling,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--lengths-from", type=Path)
    arguments = parser.parse_args()
    if arguments.lengths_from:
        return write_lengths(arguments.lengths_from)
    with open_team() as team:
        measure(team, arguments)


def measure(team: Team, arguments: argparse.Namespace) -> None:
    began, device = time.monotonic(), team.device
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name() if cuda else f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
    documents, prefixes = alpaca()
    numerics = check_numerics(device, prefixes, documents)
    update = check_update(device)
    shape = LLAMA_7B if cuda else SMALL
    with tempfile.TemporaryDirectory() as folder:
        LlamaConfig(vocab_size=VOCABULARY, **shape).save_pretrained(folder)
        estimate = estimate_memory(TrainTable(base=folder, precision="split"), device)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    loop = build(team, shape, estimate.row_tokens)
    steps = arguments.steps or (100 if cuda else 2)
    results = {
        kind: timed(loop, documents, heads, steps, began + DEADLINES[kind])
        for kind, heads in (("whole", ()), ("shared", prefixes))
    }
    today = datetime.now(UTC).date()
    title = "Alpaca 7B on one GPU" if cuda else "NOT A GPU: a small model on a CPU, to show that the script runs"
    lines = [
        f"# {title}", "", f"`python benchmarks/gpu/alpaca_7b.py`, {name}, {today}, torch {torch.__version__}.", "",
        "| gradients of a small model | loss | relative error to fp32 |", "|-|-|-|", *numerics, "", update, "",
        f"{loop.model.num_parameters():,} parameters, rows of at most {loop.packer.row_tokens:,} tokens.", "",
        "| | steps timed | median s a step | three epochs, min, by the median | by the mean | MFU | as if unshared "
        "| lengths of rows | first row of each, s |",
        "|-|-|-|-|-|-|-|-|-|",
    ]  # fmt: skip
    for kind, r in results.items():
        lines.append(
            f"| {kind} | {r['steps']} | {r['seconds']:.3f} | {r['minutes']:.1f} | {r['mean_minutes']:.1f} "
            f"| {r['mfu']:.1%} | {r['unshared']:.1%} | {r['lengths']} | {r['compiling']:.0f} |"
        )
    peak = peak_memory_bytes(device) / 1e9
    lines += ["", f"Peak memory {peak:.1f} GB; estimated {estimate.total / 1e9:.1f} GB. "
              f"The whole script took {time.monotonic() - began:.0f} s."]  # fmt: skip
    if not cuda:
        lines += ["", "No GPU was at hand: no figure here says anything about one, and the minutes are this CPU's."]
    out = arguments.out or Path(__file__).parents[1] / "results" / f"alpaca-7b-{device.type}-{today}.md"
    out.write_text("\n".join(lines) + "\n")
    print(out.read_text(), out)


if __name__ == "__main__":
    main()
