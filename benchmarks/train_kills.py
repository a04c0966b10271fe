"""SIGKILL at random moments: do the final weights have the SHA-256 of a run that nobody broke?

python benchmarks/train_kills.py [--kills 20] [--processes 1 2] [--seed 0]

Each kill falls at a random moment after the process started, loading and saving included; the same command then goes
on. Runs pacos-mini on made examples, a checkpoint every third step.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def start(work: Path, run: str, processes: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pacos", "train", str(work / "kills.toml"), "--run", str(work / run)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    said = open(work / f"{run}.log", "ab")  # noqa: SIM115
    # A group of its own, so that every process of it can be killed at once.
    return subprocess.Popen(
        [*command, "--gpus", str(processes)], env=environment, stdout=said, stderr=said, start_new_session=True
    )


def weights(work: Path, run: str) -> str:
    return json.loads((work / run / "train" / "report.json").read_text())["weights_sha256"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        records = [
            {"instruction": f"count to {n}", "input": "", "output": " ".join(map(str, range(n)))} for n in range(90)
        ]
        (work / "data.json").write_text(json.dumps(records * 2))
        (work / "kills.toml").write_text(
            f'[train]\ndataset = "{work / "data.json"}"\nbatch_size = 8\nnum_epochs = 2\nprecision = "fp32"\n'
            "learning_rate = 1e-3\ncheckpoint_every = 3\n"
        )
        for processes in arguments.processes:
            began = time.monotonic()
            assert start(work, f"whole-{processes}", processes).wait() == 0
            whole, run = time.monotonic() - began, f"broken-{processes}"
            done, at = 0, []
            while done < arguments.kills:
                # At most as long as what is left of a whole run may take, so that most kills hit training.
                running, moment = start(work, run, processes), rng.uniform(0.2, 0.6) * whole
                try:
                    running.wait(moment)
                    # It came to its end before the kill: begin another run, and go on counting.
                    same = weights(work, run) == weights(work, f"whole-{processes}")
                    print(f"{processes} processes: ended after {done} kills, same weights: {same}", flush=True)
                    assert (same, running.returncode) == (True, 0)
                    run += "-again"
                    continue
                except subprocess.TimeoutExpired:
                    os.killpg(running.pid, signal.SIGKILL)
                    running.wait()
                done += 1
                log = work / run / "train" / "steps.jsonl"
                at.append(log.read_bytes().count(b"\n") if log.exists() else 0)
            assert start(work, run, processes).wait() == 0, (work / f"{run}.log").read_text()[-2000:]
            same = weights(work, run) == weights(work, f"whole-{processes}")
            print(f"{processes} processes: {done} kills, at steps {at}; same weights as unbroken: {same}", flush=True)
            assert same


if __name__ == "__main__":
    main()
