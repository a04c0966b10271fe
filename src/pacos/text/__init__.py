"""What compares texts: novelty against a growing pool, and contamination with evaluation sets."""

from pacos.text.contamination import Contamination, Match
from pacos.text.novelty import Novelty
from pacos.text.rouge import rouge_l
from pacos.text.tokens import rouge_tokens, unicode_tokens

__all__ = ["Contamination", "Match", "Novelty", "rouge_l", "rouge_tokens", "unicode_tokens"]
