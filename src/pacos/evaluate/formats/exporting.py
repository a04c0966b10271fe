"""`pacos ballots export`: a run's answers and votes as another tool's files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from pacos.core.errors import PacosError
from pacos.evaluate.formats.alpaca_eval import write_alpaca_eval
from pacos.evaluate.formats.helm_run import write_helm
from pacos.evaluate.formats.inspect_log import write_inspect
from pacos.evaluate.formats.kept_votes import read_folder
from pacos.evaluate.formats.lm_eval_log import write_lm_eval
from pacos.evaluate.formats.votes import Reading

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

    Raises PacosError where the run is not evaluated, or the folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PacosError(f"{folder}: is there already and not empty; nothing is overwritten. Give another --out.")
    reading = read_folder(path)
    written = WRITERS[target](reading, folder)
    print(f"{len(written):,} files: {len(reading.outputs):,} models, {len(reading.votes):,} votes; {folder}")
    print(f"open: {OPENED_BY[target].format(folder)}")
    return written
