"""The data report of the 52K in `alpaca-2023`, tokenisation included: counts and seconds.

python benchmarks/train_report.py FOLDER     # FOLDER holds alpaca/alpaca_data.json and llama/tokenizer.model
"""

import sys
import tempfile
import time
from pathlib import Path

from pacos.core.recipe import TrainTable
from pacos.engines.local.tokenizer import load_tokenizer
from pacos.train.data import load_data

data = Path(sys.argv[1])
with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "tokenizer.model").symlink_to((data / "llama" / "tokenizer.model").resolve())
    for number in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        tokenizer = load_tokenizer(folder)
        report = load_data(data / "alpaca" / "alpaca_data.json", TrainTable(mode="alpaca-2023"), tokenizer).report
        print(f"round {number + 1}: {time.perf_counter() - wall:.1f} s, {time.process_time() - cpu:.1f} CPU seconds")
print("\n".join(report.lines()))
