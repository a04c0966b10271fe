"""Replays the released data set through the pool of `alpaca` mode: every rule and novelty, on one thread.

`OMP_NUM_THREADS=1 python benchmarks/golden_replay.py ALPACA_DATA.json SEED_TASKS.jsonl`

The 52,002 records go in file order, after the 175 seed tasks, through `Pool`, whose rules and novelty decide; only the
parser is passed over, as the release holds records and no replies. Reading the files is not timed.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

from pacos.asking import Call
from pacos.core.records import read_examples, read_seed_tasks
from pacos.engines import Reply, Request, Sampling
from pacos.generate.modes import ALPACA
from pacos.generate.parser import Block
from pacos.generate.pool import Pool
from pacos.text import Contamination


def main() -> None:
    """Prints what was kept and rejected, and how long that took."""
    examples, seeds = read_examples(Path(sys.argv[1])), read_seed_tasks(Path(sys.argv[2]))
    mode = replace(ALPACA, parse=lambda reply: [Block(example.instruction, (example,)) for example in examples])
    pool = Pool(mode, seeds, len(examples), 0.7, Contamination())
    call = Call(0, "", Request("replay", "", Sampling(max_tokens=1)))
    wall, process = time.perf_counter(), time.process_time()
    pool.take(call, Reply("replay", "", "stop"))
    wall, process = time.perf_counter() - wall, time.process_time() - process
    print(f"{len(pool.kept):,} of {len(examples):,} kept, {len(pool.rejected):,} rejected after {len(seeds)} seeds")
    print(
        f"{process:.1f} s of process time, {wall:.1f} s of wall time, {process / len(examples) * 1e6:.0f} µs a record"
    )


if __name__ == "__main__":
    main()
