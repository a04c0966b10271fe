"""ROUGE-L of one text against another."""

from rapidfuzz.distance import LCSseq

from pacos.text.stemming import stem
from pacos.text.tokens import unicode_tokens

# Shorter words are left as they are.
SHORTEST_STEMMED = 4


def rouge_l(reference: str, text: str) -> float:
    """The F-measure in [0, 1] of the longest common subsequence of word stems; 0 where either text has none.

    Lin, ROUGE (2004), section 3.1, with precision and recall weighed equally; on ASCII text the value of rouge_score's
    `rougeL` with its stemmer, which is Self-Instruct's measure, elsewhere over words of any script.
    """
    wanted, given = _stems(reference), _stems(text)
    common = LCSseq.similarity(wanted, given)
    return 2 * common / (len(wanted) + len(given)) if common else 0.0


def _stems(text: str) -> list[str]:
    return [stem(word) if len(word) >= SHORTEST_STEMMED and word.isascii() else word for word in unicode_tokens(text)]
