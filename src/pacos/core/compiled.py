"""C that this machine's compiler makes faster than arrays are; every caller has a way without."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

COMPILER = "cc"
OPTIONS = ("-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC")

Loaded = TypeVar("Loaded")


def compiled(source: Path, options: Sequence[str], load: Callable[[Path], Loaded]) -> Loaded | None:
    """What `load` makes of the library, compiled for this very machine in a third of a second.

    None where there is no C compiler, or one that cannot do this. Nothing is left on the disk: a library in a shared
    home would meet other machines, and other versions of its source.
    """
    compiler = shutil.which(COMPILER)
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, f"{source.stem}.so")
        command = [compiler, *OPTIONS, *options, str(source), "-o", str(library), "-lm"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            # Loaded, it needs its file no longer.
            return load(library)
        except (OSError, subprocess.SubprocessError):
            return None
