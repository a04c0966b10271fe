"""Real tokens a second of pacos, Hugging Face's Trainer and TRL's SFTTrainer on the same model, data and seed.

    python benchmarks/train_speed.py FOLDER [--rounds 3] [--steps 6]

FOLDER holds Alpaca's data and LLaMA's tokenizer (alpaca/alpaca_data.json, llama/tokenizer.model). A randomly
initialised LLaMA of about 25M parameters, 128 examples a step; each opponent trains the same steps in a process of
its own, in turn, `rounds` times. The first step of each is warm-up. TRL is measured where it is installed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPPONENTS = ("pacos", "pacos-whole", "trainer", "trl")


def make_base(data: Path, folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from pacos.engines.local.tokenizer import load_tokenizer

    bare = folder.with_name("bare")
    bare.mkdir()
    (bare / "tokenizer.model").symlink_to((data / "llama" / "tokenizer.model").resolve())
    tokenizer = load_tokenizer(str(bare))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=384, intermediate_size=1024, num_hidden_layers=7,
        num_attention_heads=6, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(f"{model.num_parameters():,} parameters")


def recipe(base: Path, data: Path, steps: int, precision: str, engine: str):
    from pacos.core.recipe import load

    path = base.with_name("speed.toml")
    path.write_text("[train]\n")
    keys = {
        "base": base, "dataset": data / "alpaca" / "alpaca_data.json", "max_examples": 128 * steps, "num_epochs": 1,
        "precision": precision, "learning_rate": 1e-3, "engine": engine.partition("-")[0],
        "share_prefix": str(engine == "pacos").lower(), "checkpoint_every": 10**6, "warmup_ratio": 0,
    }  # fmt: skip
    return load(path, [f"train.{key}={value}" for key, value in keys.items()])


def with_pacos(base: Path, data: Path, steps: int, precision: str, engine: str) -> list[dict[str, float]]:
    from pacos.core.run_folder import RunFolder
    from pacos.train.run import run

    made = recipe(base, data, steps, precision, engine)
    folder = Path(tempfile.mkdtemp(dir=base.parent))
    with RunFolder(folder, made) as opened:
        run(made, opened)
    return [json.loads(line) for line in (folder / "train/steps.jsonl").read_text().splitlines()]


def with_trl(base: Path, data: Path, steps: int, precision: str) -> list[dict[str, float]]:
    """Best-fit-decreasing packing to 512 tokens; TRL packs once, so a step holds other examples than ours."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from pacos.train.data import load_data

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.eos_token
    table = recipe(base, data, steps, precision, "pacos").train
    documents = load_data(data / "alpaca" / "alpaca_data.json", table, tokenizer).documents
    rows = [
        {"input_ids": d.input_ids, "labels": [-100] * d.num_masked + d.input_ids[d.num_masked :]} for d in documents
    ]
    tokens = sum(len(document.input_ids) for document in documents)
    # As many packs a step as hold 128 examples' tokens on average.
    accumulation = max(round(tokens / len(documents) * 128 / 512 / 2), 1)
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: object, **__: object) -> None:
            times.append(time.perf_counter())

        def on_step_end(self, *_: object, **__: object) -> None:
            times.append(time.perf_counter())

    arguments = SFTConfig(
        output_dir=tempfile.mkdtemp(dir=base.parent), use_cpu=True, bf16=precision == "bf16", packing=True,
        packing_strategy="bfd", max_length=512, per_device_train_batch_size=2, learning_rate=1e-3,
        lr_scheduler_type="cosine", gradient_accumulation_steps=accumulation, num_train_epochs=1, report_to=[],
        logging_steps=1, disable_tqdm=True, save_strategy="no", gradient_checkpointing=False,
    )  # fmt: skip
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(base), args=arguments, train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer, callbacks=[Clock()],
    )  # fmt: skip
    trainer.train()
    logged = [line for line in trainer.state.log_history if "grad_norm" in line]
    real = tokens / len(logged)
    seconds = [end - begin for begin, end in zip(times[::2], times[1::2], strict=True)]
    return [
        {"loss": float(line["loss"]), "real_tokens": real, "seconds": each, "real_tokens_per_second": real / each}
        for line, each in zip(logged, seconds, strict=False)
    ]


def measured(opponent: str, base: Path, arguments: argparse.Namespace) -> dict[str, object] | None:
    command = [sys.executable, __file__, str(arguments.data), "--only", opponent, "--base", str(base)]
    command += ["--steps", str(arguments.steps), "--precision", arguments.precision]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    if done.returncode:
        print(f"{opponent}: {done.stderr.strip().splitlines()[-1]}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--opponents", nargs="+", default=OPPONENTS)
    parser.add_argument("--only")
    parser.add_argument("--base", type=Path)
    arguments = parser.parse_args()
    if arguments.only:
        with_it = with_trl if arguments.only == "trl" else with_pacos
        extra = () if arguments.only == "trl" else (arguments.only,)
        steps = with_it(arguments.base, arguments.data, arguments.steps, arguments.precision, *extra)
        timed = steps[1:]
        rate = sum(step["real_tokens"] for step in timed) / sum(step["seconds"] for step in timed)
        print(json.dumps({"rate": rate, "losses": [step["loss"] for step in steps]}))
        return
    with tempfile.TemporaryDirectory() as work:
        base = Path(work) / "base"
        make_base(arguments.data, base)
        print(f"{arguments.precision}, {os.environ.get('OMP_NUM_THREADS', 'all')} threads, {arguments.steps} steps")
        found: dict[str, list[dict]] = {opponent: [] for opponent in arguments.opponents}
        for _ in range(arguments.rounds):
            for opponent in arguments.opponents:
                made = measured(opponent, base, arguments)
                if made:
                    found[opponent].append(made)
                    print(f"  {opponent:<12}{made['rate']:>8,.0f} real tokens/s", flush=True)
        medians = {name: statistics.median(m["rate"] for m in made) for name, made in found.items() if made}
        for name, rate in medians.items():
            print(f"{name:<12}median {rate:>8,.0f} real tokens/s, pacos is {medians['pacos'] / rate:.2f} times that")
            print("            losses " + " ".join(f"{loss:.3f}" for loss in found[name][0]["losses"]))


if __name__ == "__main__":
    main()
