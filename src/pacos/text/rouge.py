"""ROUGE-L of one text against another."""

from rapidfuzz.distance import LCSseq

from pacos.text.tokens import unicode_tokens


def rouge_l(reference: str, text: str) -> float:
    """The F-measure in [0, 1] of the longest common subsequence of words; 0 where either has none.

    Lin, ROUGE (2004), section 3.1, with precision and recall weighed equally; on ASCII text the value of rouge_score's
    `rougeL` without a stemmer, elsewhere over words of any script.
    """
    wanted, given = unicode_tokens(reference), unicode_tokens(text)
    common = LCSseq.similarity(wanted, given)
    return 2 * common / (len(wanted) + len(given)) if common else 0.0
