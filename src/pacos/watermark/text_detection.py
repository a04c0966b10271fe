"""Detection in text: what `pacos detect` calls."""

from pathlib import Path

from tokenizers import Tokenizer

from pacos.core.errors import PacosError
from pacos.watermark.detection import Detection
from pacos.watermark.settings import WatermarkSettings


def detect_text(text: str, tokenizer_folder: Path, settings: WatermarkSettings) -> Detection:
    """Looks for the mark in `text`, tokenised as the model in `tokenizer_folder` does, without special tokens.

    Raises PacosError where the folder holds no tokenizer.json that can be read.
    """
    path = tokenizer_folder / "tokenizer.json"
    if not path.is_file():
        raise PacosError(f"{path}: no such file; expected the tokenizer of the model that wrote the text.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise PacosError(f"{path}: not a tokenizer.json that can be read ({error}).") from None
    return settings.watermark().detect(tokenizer.encode(text, add_special_tokens=False).ids)
