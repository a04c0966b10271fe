"""The watermark on every answer, and the settings in the run's serve folder by which `pacos detect` finds it."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from secrets import randbits

from tokenizers import Tokenizer

from pacos.core.errors import PacosError
from pacos.core.files import write_text
from pacos.watermark import SETTINGS_FILE, WatermarkSettings, read_settings
from pacos.watermark.detection import Verdict
from pacos.watermark.text_detection import TOKENIZER_FILE

# lefthash looks at one token back: an edit spoils two scored pairs instead of selfhash's four, so the mark survives
# more editing, and its green lists are drawn once a token instead of 41 times a step. It is easier to learn from
# many answers, and so to forge, which a demonstration can bear.
SCHEME = "lefthash"


def watermark_settings(folder: Path, vocab_size: int, tokenizer: str) -> WatermarkSettings:
    """The settings in `folder`, made with a key of its own at the first start and the same ever after.

    The tokenizer, the text of a tokenizer.json, is left beside them for the detector. PacosError where the file is
    broken, cannot be written, or is of a model with another vocabulary or tokenizer: rewriting it would make every
    answer given before undetectable.
    """
    path, sha256 = folder / SETTINGS_FILE, hashlib.sha256(tokenizer.encode()).hexdigest()
    if not path.exists():
        write_text(folder / TOKENIZER_FILE, tokenizer)
        # Odd, so that every token keeps a seed of its own modulo 2**32, which is what the published scheme draws from.
        key = randbits(62) | 1
        WatermarkSettings(scheme=SCHEME, vocab_size=vocab_size, key=key, tokenizer_sha256=sha256).write(path)
    settings = read_settings(path)
    if settings.vocab_size != vocab_size:
        marks = f"a vocabulary of {settings.vocab_size:,} tokens and this model has {vocab_size:,}"
    elif settings.tokenizer_sha256 not in ("", sha256):
        marks = "another tokenizer's tokens than this model writes"
    else:
        return settings
    raise PacosError(
        f"{path}: marks {marks}; remove serve/watermark.json to start a new key (answers marked before are then no "
        "longer detected)."
    )


def verdicts(settings: WatermarkSettings, tokenizer: str) -> Callable[[str], Verdict]:
    """What the detector says of an answer, so that no reader is told of a mark that cannot be found."""
    reader, mark = Tokenizer.from_str(tokenizer), settings.watermark()
    return lambda text: mark.detect(reader.encode(text, add_special_tokens=False).ids).verdict
