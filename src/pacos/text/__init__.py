"""What compares texts: novelty against a growing pool."""

from pacos.text.novelty import Novelty
from pacos.text.tokens import rouge_tokens, unicode_tokens

__all__ = ["Novelty", "rouge_tokens", "unicode_tokens"]
