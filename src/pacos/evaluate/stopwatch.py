"""How long the stage has worked, over all the processes it took."""

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from pacos.core.errors import PacosError
from pacos.core.files import read_json, write_json


class Stopwatch:
    """`with Stopwatch(path) as watch`: goes on from the seconds in `path`, and leaves its own there however it ends.

    A killed process cannot: what it worked since its last `save` is not counted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = time.monotonic()
        self._earlier = read_json(path, "seconds worked so far") if path.exists() else 0.0
        if not isinstance(self._earlier, (int, float)):
            raise PacosError(f"{path}: expected a number of seconds. Remove that file to count from here.")

    @property
    def seconds(self) -> float:
        """Worked until now."""
        return self._earlier + time.monotonic() - self._start

    def save(self) -> None:
        """Keeps the seconds for the process that goes on."""
        write_json(self._path, round(self.seconds, 3))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.save()
