"""Questions whose words occur in other texts, which may be longer."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from blossomtune.data.preparation.deduplicate import normalize_text

NGRAM_SIZE = 8
"""Words per n-gram."""

THRESHOLD = 0.7
"""Share of a question's n-grams in the texts from which on the question occurs there."""

MIN_QUESTIONS = 20
"""Number of questions from which on the words that all of them start or end with do not count."""

_NO_WORD = " "  # between texts; in no question

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(f"[{_IDEOGRAPHS}]|[^\\s{_IDEOGRAPHS}]+")  # those scripts have no spaces

Words = NDArray[np.uint64]


class QuestionOverlap:
    """Search for questions in texts by n-grams of words.

    A question counts as seen if 70 % of its sequences of eight words occur in the texts. A shorter
    question has one sequence, all of its words. Letter case, punctuation and spaces do not
    count. Source: Chowdhery et al., *PaLM*, 2022, section 8 (arXiv 2204.02311).

    Args:
        questions: Texts of the questions.
    """

    def __init__(self, questions: Sequence[str]) -> None:
        self._vocabulary: dict[str, int] = {}
        words = _strip_frame([_split_words(question) for question in questions])
        for word in (word for question in words for word in question):
            self._vocabulary.setdefault(word, len(self._vocabulary) + 1)
        self._ngrams = [self._hash_ngrams(self._encode(w), min(len(w), NGRAM_SIZE)) for w in words]
        self._sizes = sorted({min(len(w), NGRAM_SIZE) for w in words if w})
        ngrams = np.concatenate([np.empty(0, dtype=np.uint64), *self._ngrams])
        self._known = np.unique(ngrams)
        self._is_seen = np.zeros(len(self._known), dtype=bool)

    def add_texts(self, texts: Iterable[str]) -> None:
        """Add texts to search in."""
        encoded = [self._encode([*_split_words(text), _NO_WORD]) for text in texts]
        words = np.concatenate([np.empty(0, dtype=np.uint64), *encoded])
        for size in self._sizes:
            self._is_seen |= np.isin(self._known, self._hash_ngrams(words, size))

    def compute_shares(self) -> NDArray[np.float64]:
        """Return (questions,) float64, the share of each question's n-grams in the texts."""
        shares = [
            self._is_seen[np.searchsorted(self._known, ngrams)].mean() if len(ngrams) else 0.0
            for ngrams in self._ngrams
        ]
        return np.array(shares, dtype=np.float64)

    def _encode(self, words: Sequence[str]) -> Words:
        """Return (words,) uint64, index of each word; 0 for those of no question."""
        return np.array([self._vocabulary.get(word, 0) for word in words], dtype=np.uint64)

    @staticmethod
    def _hash_ngrams(words: Words, size: int) -> Words:
        """Return (n-grams,) uint64, polynomial hashes of those that have no unknown word."""
        if not size or len(words) < size:
            return np.empty(0, dtype=np.uint64)
        windows = np.lib.stride_tricks.sliding_window_view(words, size)
        hashes = np.full(len(windows), size, dtype=np.uint64)
        for column in windows.T:
            hashes = (hashes + column) * _MULTIPLIER
        known: Words = hashes[(windows > 0).all(axis=1)]
        return known


def _split_words(text: str) -> list[str]:
    return _WORD.findall(normalize_text(text))


def _strip_frame(questions: list[list[str]]) -> list[list[str]]:
    """Remove the words that all questions start and end with, such as "Question:", "Answer:"."""
    if len(questions) < MIN_QUESTIONS:
        return questions
    start = _count_common(questions)
    rest = [question[start:] for question in questions]
    end = _count_common([question[::-1] for question in rest])
    return [question[: len(question) - end] for question in rest]


def _count_common(questions: list[list[str]]) -> int:
    """Return with how many words all questions start."""
    first, last = min(questions), max(questions)
    pairs = enumerate(zip(first, last, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(last)))
