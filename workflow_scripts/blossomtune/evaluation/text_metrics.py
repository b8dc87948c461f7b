"""Compare an answer with a right one: metrics of free text, from 0 to 1."""

import re
import string
import unicodedata
from collections import Counter
from functools import cache
from typing import Any

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff])"
)
"""Letters of scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Han."""


def exact_match(answer: str, reference: str) -> float:
    """Return 1 if both are equal, without outer white space.

    Args:
        answer: A generated answer.
        reference: A right answer.

    Returns:
        0 or 1.
    """
    return float(answer.strip() == reference.strip())


def normalized_exact_match(answer: str, reference: str) -> float:
    """Return 1 if both are equal after SQuAD's normalization.

    Args:
        answer: A generated answer.
        reference: A right answer.

    Returns:
        0 or 1.
    """
    return float(_normalize(answer) == _normalize(reference))


def token_f1(answer: str, reference: str) -> float:
    """Return SQuAD's F1 score of the normalized words (Rajpurkar et al., EMNLP 2016).

    Args:
        answer: A generated answer.
        reference: A right answer.

    Returns:
        Harmonic mean of precision and recall; if either has no words, 1 if both have none.
    """
    words, right = _normalize(answer).split(), _normalize(reference).split()
    if not words or not right:
        return float(words == right)
    common = (Counter(words) & Counter(right)).total()
    return 2 * common / (len(words) + len(right))


def rouge_l(answer: str, reference: str) -> float:
    """Return the F-measure of ROUGE-L by ``rouge-score``, without stemming (Lin, 2004).

    Args:
        answer: A generated answer.
        reference: A right answer.

    Returns:
        F-measure of the longest common subsequence of words.
    """
    return float(_load_rouge_scorer().score(reference, answer)["rougeL"].fmeasure)


def chrf(answer: str, reference: str) -> float:
    """Return chrF by ``sacrebleu``: character n-grams up to 6, beta 2 (Popović, WMT 2015).

    Args:
        answer: A generated answer.
        reference: A right answer.

    Returns:
        The score as a share, not in percent.
    """
    return float(_load_chrf().sentence_score(answer, [reference]).score) / 100


class WordTokenizer:
    """Tokenizer for ROUGE of texts in all scripts; ``rouge-score`` has one for ASCII alone.

    Words are runs of letters, marks and digits in lower case. Letters of scripts without spaces
    between words are words themselves.
    """

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text; of ASCII text, those of ``rouge-score``."""
        text = text.lower()
        if not text.isascii():
            text = _UNSPACED.sub(r" \1 ", text)
        return "".join(c if _is_in_word(c) else " " for c in text).split()


def _is_in_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")


def _normalize(text: str) -> str:
    """Return a text in lower case, without ASCII punctuation, articles and repeated spaces."""
    text = text.lower().translate(_PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


@cache
def _load_rouge_scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=WordTokenizer())


@cache
def _load_chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
