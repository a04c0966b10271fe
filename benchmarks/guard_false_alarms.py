"""Lists what the blocklist flags in real data, and how long it takes, as docs/guard.md reports.

`python benchmarks/guard_false_alarms.py ALPACA_DATA.json`
"""

import json
import sys
import time

from pacos.guard import Blocklist

if __name__ == "__main__":
    blocklist = Blocklist()
    with open(sys.argv[1], encoding="utf-8") as file:
        records = json.load(file)
    start = time.process_time()
    flagged = [
        (i, found) for i, record in enumerate(records) if (found := blocklist.matches("\n\n".join(record.values())))
    ]
    seconds = time.process_time() - start
    for index, found in flagged:
        print(f"record {index}: {found}; {records[index]['instruction']}")
    print(f"{len(flagged)} of {len(records):,} records ({len(flagged) / len(records):.3%}) in {seconds:.1f} s")
