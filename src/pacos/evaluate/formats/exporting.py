"""`pacos ballots export`: a run's answers and votes as another tool's files."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

from pacos.core.errors import PacosError
from pacos.evaluate.formats.alpaca_eval import write_alpaca_eval
from pacos.evaluate.formats.helm_run import write_helm
from pacos.evaluate.formats.inspect_log import write_inspect
from pacos.evaluate.formats.kept_votes import read_folder
from pacos.evaluate.formats.lm_eval_log import write_lm_eval
from pacos.evaluate.formats.votes import Reading
from pacos.evaluate.items import ItemSet

Target = Literal["alpaca-eval", "helm", "lm-eval", "inspect"]
WRITERS: Mapping[Target, Callable[[Reading, Path], list[Path]]] = {
    "alpaca-eval": write_alpaca_eval,
    "helm": write_helm,
    "lm-eval": write_lm_eval,
    "inspect": write_inspect,
}
OPENED_BY: Mapping[Target, str] = {
    "alpaca-eval": "pacos leaderboard reproduce {0}",
    "helm": "cd {0} && helm-summarize --suite pacos --schema-path schema.yaml --local-path prod_env && helm-server",
    "lm-eval": "lm-eval's own readers take {0} as its --output_path",
    "inspect": "inspect view --log-dir {0}",
}


def export_ballots(path: Path, target: Target, folder: Path) -> list[Path]:
    """Writes the answers and votes of the run at `path` into `folder`; returns the files.

    Where there are harder items, they and the main ones get a folder each: no report adds them up.
    Raises PacosError where the run is not evaluated, or the folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PacosError(f"{folder}: is there already and not empty; nothing is overwritten. Give another --out.")
    reading = read_folder(path)
    sets = [name for name in get_args(ItemSet) if any(item.set == name for item in reading.items.values())]
    written = []
    for name in sets:
        part, place = reading.of_set(name), folder / name if len(sets) > 1 else folder
        files = WRITERS[target](part, place)
        what = f"{len(part.outputs):,} models and {len(part.votes):,} votes on {len(part.items):,} {name} items"
        print(f"{len(files):,} files: {what}; {place}")
        print(f"open: {OPENED_BY[target].format(shlex.quote(str(place)))}")
        written += files
    return written
