"""The settings a detector needs, as the server that marks leaves them in its run: RUN/serve/watermark.json."""

import json
import math
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_type_hints

from pacos.core.errors import PacosError
from pacos.core.files import read_json, write_error
from pacos.watermark.schemes import SCHEMES
from pacos.watermark.watermark import DEFAULT_KEY, Watermark

SETTINGS_FILE = "watermark.json"
KEYED = frozenset(name for name, scheme in SCHEMES.items() if scheme.prf is None)


@dataclass(frozen=True, kw_only=True)
class WatermarkSettings:
    """Everything that decides green lists; whoever knows it can detect the mark, and forge it.

    `tokenizer_sha256` is of the tokenizer.json by which the marked answers were written; "" where it is not known. In
    the file the key of `threefry` is 32 hexadecimal digits, and those of the published schemes are whole numbers.
    """

    scheme: str = "selfhash"
    gamma: float = 0.25
    delta: float = 2.0
    key: int = DEFAULT_KEY
    vocab_size: int
    tokenizer_sha256: str = ""

    def watermark(self) -> Watermark:
        """The watermark of these settings; PacosError where they are impossible."""
        return Watermark(self.scheme, self.vocab_size, self.gamma, self.delta, self.key)

    def write(self, path: Path) -> None:
        """Writes the settings as JSON, whole or not at all, readable by their owner only from the first byte on."""
        partial = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)
            with open(partial, "x", encoding="utf-8", opener=_private) as file:
                file.write(json.dumps(self._as_json(), indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError as error:
            raise write_error(path, error) from error

    def _as_json(self) -> dict[str, object]:
        key: object = f"{self.key:032x}" if self.scheme in KEYED else self.key
        return asdict(self) | {"key": key}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_settings(path: Path) -> WatermarkSettings:
    """Settings from a file that `write` made; PacosError names the file and the key that is wrong."""
    value = read_json(path, "watermark settings")
    expected = get_type_hints(WatermarkSettings)
    # Files of before 0.1.0 do not name the tokenizer.
    if not isinstance(value, dict) or {*value, "tokenizer_sha256"} != set(expected):
        raise PacosError(f"{path}: expected the keys {', '.join(expected)} and no others, as pacos serve writes them.")
    value.setdefault("tokenizer_sha256", "")
    if value["scheme"] in KEYED:
        if not re.fullmatch("[0-9a-f]{32}", str(value["key"])):
            raise PacosError(f"{path}: key is {value['key']!r}; expected 32 hexadecimal digits, which are 128 bits.")
        value["key"] = int(value["key"], 16)
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
