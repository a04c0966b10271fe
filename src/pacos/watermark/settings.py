"""The settings a detector needs, as the server that marks leaves them beside its model."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_type_hints

from pacos.core.errors import PacosError
from pacos.core.files import read_json, write_json
from pacos.watermark.watermark import DEFAULT_KEY, Watermark

SETTINGS_FILE = "watermark.json"


@dataclass(frozen=True, kw_only=True)
class WatermarkSettings:
    """Everything that decides green lists; whoever knows it can detect the mark, and forge it."""

    scheme: str = "selfhash"
    gamma: float = 0.25
    delta: float = 2.0
    key: int = DEFAULT_KEY
    vocab_size: int

    def watermark(self) -> Watermark:
        """The watermark of these settings; PacosError where they are impossible."""
        return Watermark(self.scheme, self.vocab_size, self.gamma, self.delta, self.key)

    def write(self, path: Path) -> None:
        """Writes the settings as JSON, atomically."""
        write_json(path, asdict(self))


def read_settings(path: Path) -> WatermarkSettings:
    """Settings from a file that `write` made; PacosError names the file and the key that is wrong."""
    value = read_json(path, "watermark settings")
    expected = get_type_hints(WatermarkSettings)
    if not isinstance(value, dict) or set(value) != set(expected):
        raise PacosError(f"{path}: expected the keys {', '.join(expected)} and no others, as pacos serve writes them.")
    for name, kind in expected.items():
        if kind is float and type(value[name]) is int:
            value[name] = float(value[name])
        if type(value[name]) is not kind or (kind is float and not math.isfinite(value[name])):
            raise PacosError(f"{path}: {name} is {value[name]!r}; expected a {kind.__name__}.")
    settings = WatermarkSettings(**value)
    try:
        settings.watermark()
    except PacosError as error:
        raise PacosError(f"{path}: {error}") from None
    return settings
