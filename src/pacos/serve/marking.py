"""The watermark on every answer, and the settings beside the run by which `pacos detect` finds it."""

from dataclasses import replace
from pathlib import Path
from secrets import randbits

from pacos.watermark import SETTINGS_FILE, WatermarkSettings, read_settings

# lefthash looks at one token back: an edit spoils two scored pairs instead of selfhash's four, so the mark survives
# more editing, and its green lists are drawn once a token instead of 41 times a step. It is easier to learn from
# many answers, and so to forge, which a demonstration can bear.
SCHEME = "lefthash"


def watermark_settings(folder: Path, vocab_size: int) -> WatermarkSettings:
    """The settings in `folder`, made with a key of its own at the first start and the same ever after.

    Another vocabulary keeps the key. PacosError where the file is broken or cannot be written.
    """
    path = folder / SETTINGS_FILE
    if path.exists():
        before = read_settings(path)
        if before.vocab_size == vocab_size:
            return before
        settings = replace(before, vocab_size=vocab_size)
    else:
        # Odd, so that every token keeps a seed of its own modulo 2**32, which is what the published scheme draws from.
        settings = WatermarkSettings(scheme=SCHEME, vocab_size=vocab_size, key=randbits(62) | 1)
    settings.write(path)
    path.chmod(0o600)
    return settings
