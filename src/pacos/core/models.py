"""Where a model's folder is, and which weights lie in it: a name in a recipe becomes a path, or stays a hub name."""

from hashlib import sha256
from pathlib import Path

from pacos.core.errors import PacosError
from pacos.core.files import sha256_file

MINI = Path(__file__).parent.parent / "mini"


def resolve_model(name: str) -> str:
    """`pacos-mini` and folders become paths; `owner/name` is left for transformers to fetch from the hub.

    A folder holds config.json, or peft's adapter_config.json, which names its base. Raises PacosError where a path
    does not exist or holds neither.
    """
    path = MINI if name == "pacos-mini" else Path(name)
    if path.is_dir():
        if not (path / "config.json").exists() and not (path / "adapter_config.json").exists():
            raise PacosError(f"{path}: no config.json there; expected a Hugging Face checkpoint folder.")
        return str(path)
    if is_hub_name(name):
        return name
    raise PacosError(
        f"{name}: no such model folder; expected pacos-mini, a checkpoint folder or a hub name (owner/name)."
    )


def is_hub_name(name: str) -> bool:
    """True for exactly owner/name where no such folder exists; anything that looks more like a path is one."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).is_dir()


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
