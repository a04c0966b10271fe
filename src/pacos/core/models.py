"""Where a model's folder is, and which weights lie in it: a name in a recipe becomes a path, or stays a hub name."""

import difflib
import os
import shlex
from functools import cache
from hashlib import sha256
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file
from pacos.core.known_models import KNOWN_MODELS

MINI = Path(__file__).parent.parent / "mini"
SHORT_NAMES = ("pacos-mini", *KNOWN_MODELS)


def resolve_model(name: str) -> str:
    """Short names, folders and GGUF files become paths; `owner/name` is left for transformers to fetch from the hub.

    A folder holds config.json, or peft's adapter_config.json, which names its base; a short name's and a GGUF file's
    is the one that `pacos fetch` made. Raises PacosError where a path does not exist or holds neither.
    """
    fetched = name in KNOWN_MODELS or (name.endswith(".gguf") and Path(name).is_file())
    path = cached_model(name) if fetched else MINI if name == "pacos-mini" else Path(name)
    if path.is_dir():
        if not (path / "config.json").exists() and not (path / "adapter_config.json").exists():
            raise PacosError(f"{path}: no config.json there; expected a Hugging Face checkpoint folder.")
        return str(path)
    if fetched:
        raise PacosError(f"{name}: not fetched yet; run: pacos fetch {shlex.quote(name)}")
    if is_hub_name(name):
        return name
    near = difflib.get_close_matches(name, SHORT_NAMES, n=1)
    known = f"expected {', '.join(SHORT_NAMES)}, a checkpoint folder, a GGUF file or a hub name (owner/name)"
    hint = f"did you mean {near[0]}?" if near else f"{known}."
    raise PacosError(f"{name}: no such model folder; {hint}")


def is_hub_name(name: str) -> bool:
    """True for exactly owner/name where no such folder exists; anything that looks more like a path is one."""
    path_like = name.startswith((".", "/", "~")) or name.endswith(".gguf")
    return name.count("/") == 1 and not path_like and not Path(name).is_dir()


def cached_model(name: str) -> Path:
    """The folder in the user's cache that belongs to a short name, or to what a GGUF file holds, wherever it lies."""
    if name not in KNOWN_MODELS:
        path = Path(name)
        name = f"gguf-{_sha256_of_version(path, path.stat().st_size, path.stat().st_mtime_ns)[:16]}"
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("PACOS_CACHE") or user / "pacos") / "models" / name


@cache
def _sha256_of_version(path: Path, size: int, changed: int) -> str:
    """A file's SHA-256, computed once for each size and time of change."""
    return sha256_file(path)


def weights_sha256(folder: Path) -> str:
    """SHA-256 of model.safetensors, or of an adapter's; of shards, of their hex digests joined in order of name.

    A checkpoint from before safetensors counts by its pytorch_model*.bin. PacosError where there are no weights.
    """
    wholes = [folder / name for name in ("model.safetensors", "adapter_model.safetensors")]
    files = [whole for whole in wholes if whole.is_file()][:1] or sorted(folder.glob("model*.safetensors"))
    files = files or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise PacosError(f"{folder}: no weights there; expected model.safetensors.")
    digests = [sha256_file(file) for file in files]
    return digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest()
