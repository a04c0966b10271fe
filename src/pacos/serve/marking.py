"""The watermark on every answer, and the settings in the run's serve folder by which `pacos detect` finds it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import randbits

from pacos.core.errors import PacosError
from pacos.core.files import sha256_text, write_text
from pacos.watermark import SETTINGS_FILE, TextDetector, WatermarkSettings, read_settings
from pacos.watermark.detection import Verdict
from pacos.watermark.text_detection import TOKENIZER_FILE

# lefthash looks at one token back: an edit spoils two scored pairs instead of selfhash's four, so the mark survives
# more editing, and it costs a third as much. It is easier to learn from many answers, and so to forge, which a
# demonstration can bear. threefry, which nobody can search the key of, looks one token back too and is found as well;
# where top-p or top-k are asked, a new list takes it two and a half times as long.
SCHEME = "lefthash"

# An unmarked answer is called marked once in a hundred times at most, and a marked one of this length hardly ever not.
CANARY_TOKENS, CANARY_P_VALUE = 100, 0.01
MAX_UNCHECKED = 64


def watermark_settings(folder: Path, vocab_size: int, tokenizer: str) -> WatermarkSettings:
    """The settings in `folder`, made with a key of its own at the first start and the same ever after.

    The tokenizer, the text of a tokenizer.json, is left beside them for the detector. PacosError where the file is
    broken, cannot be written, or is of a model with another vocabulary or tokenizer: rewriting it would make every
    answer given before undetectable.
    """
    path, sha256 = folder / SETTINGS_FILE, sha256_text(tokenizer)
    if not path.exists():
        # Odd, so that every token keeps a seed of its own modulo 2**32, which is what the published scheme draws from.
        key = randbits(62) | 1
        WatermarkSettings(scheme=SCHEME, vocab_size=vocab_size, key=key, tokenizer_sha256=sha256).write(path)
    settings = read_settings(path)
    if settings.vocab_size != vocab_size:
        marks = f"a vocabulary of {settings.vocab_size:,} tokens and this model has {vocab_size:,}"
    elif settings.tokenizer_sha256 not in ("", sha256):
        marks = "another tokenizer's tokens than this model writes"
    else:
        # Whoever wrote the settings by hand, or long ago, left none.
        if not (folder / TOKENIZER_FILE).exists():
            write_text(folder / TOKENIZER_FILE, tokenizer)
        return settings
    raise PacosError(
        f"{path}: marks {marks}; remove serve/watermark.json to start a new key (answers marked before are then no "
        "longer detected)."
    )


def verdict_by(detector: TextDetector) -> Callable[[str], Verdict]:
    """What /detect would say of a text, which is what the page says of an answer."""
    return lambda text: detector.detect(text).found.verdict


class Canary:
    """Looks for the mark in the server's own long answers, so that one that is silently lost is noticed.

    `checked` answers had 100 scored tokens or more, and `missing` of them an exact p-value above 0.01. Answers with
    little choice in them are among those too: what tells is a share that rises.
    """

    def __init__(self, detector: TextDetector) -> None:
        self.checked = self.missing = 0
        self._detector = detector
        # One thread beside the event loop, which alone counts.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="canary")
        self._unchecked = 0

    def on_end(self, text: str) -> None:
        """Takes an answer as the engine made it; one that comes when 64 are waiting is left out."""
        # Fewer characters than tokens are rare, and not worth a look.
        if len(text) >= CANARY_TOKENS and self._unchecked < MAX_UNCHECKED:
            self._unchecked += 1
            self._thread.submit(self._check, text)

    def close(self) -> None:
        """Waits for the answers it has."""
        self._thread.shutdown()

    def _check(self, text: str) -> None:
        try:
            found = self._detector.detect_unchanged(text)
            if found.num_tokens_scored >= CANARY_TOKENS:
                self.missing += found.exact_p_value > CANARY_P_VALUE
                self.checked += 1
        finally:
            self._unchecked -= 1
