"""The golden replay: the released data set, record by record, through the pool as `alpaca` mode judges."""

from dataclasses import replace
from pathlib import Path

from pacos.asking import Call
from pacos.core.records import read_examples, read_seed_tasks
from pacos.engines import Reply, Request, Sampling
from pacos.generate.modes import ALPACA
from pacos.generate.parser import Block
from pacos.generate.pool import Pool
from pacos.text import Contamination


def test_every_released_record_is_kept_in_file_order(shared_data: Path) -> None:
    examples = read_examples(shared_data / "alpaca" / "alpaca_data.json")
    seeds = read_seed_tasks(shared_data / "self_instruct" / "seed_tasks.jsonl")
    # The release holds records and no replies, so that only the parser has nothing to read.
    mode = replace(ALPACA, parse=lambda reply: [Block(example.instruction, (example,)) for example in examples])
    pool = Pool(mode, seeds, len(examples), 0.7, Contamination())
    call = Call(0, "", Request("replay", "", Sampling(max_tokens=1)))
    pool.take(call, Reply("replay", "", "stop"))
    assert pool.rejected == []
    assert [kept.example for kept in pool.kept] == examples
    assert len(pool.kept) == 52_002
    assert max(kept.similarity for kept in pool.kept) == 0.7
