"""The watermark on every answer, and the settings in the run's serve folder by which `pacos detect` finds it."""

from pathlib import Path
from secrets import randbits

from pacos.core.errors import PacosError
from pacos.watermark import SETTINGS_FILE, WatermarkSettings, read_settings

# lefthash looks at one token back: an edit spoils two scored pairs instead of selfhash's four, so the mark survives
# more editing, and its green lists are drawn once a token instead of 41 times a step. It is easier to learn from
# many answers, and so to forge, which a demonstration can bear.
SCHEME = "lefthash"


def watermark_settings(folder: Path, vocab_size: int) -> WatermarkSettings:
    """The settings in `folder`, made with a key of its own at the first start and the same ever after.

    PacosError where the file is broken, cannot be written, or is of a model with another vocabulary: rewriting it
    would make every answer given before undetectable.
    """
    path = folder / SETTINGS_FILE
    if not path.exists():
        # Odd, so that every token keeps a seed of its own modulo 2**32, which is what the published scheme draws from.
        WatermarkSettings(scheme=SCHEME, vocab_size=vocab_size, key=randbits(62) | 1).write(path)
    settings = read_settings(path)
    if settings.vocab_size != vocab_size:
        raise PacosError(
            f"{path}: marks a vocabulary of {settings.vocab_size:,} tokens and this model has {vocab_size:,}; "
            "remove serve/watermark.json to start a new key (answers marked before are then no longer detected)."
        )
    return settings
