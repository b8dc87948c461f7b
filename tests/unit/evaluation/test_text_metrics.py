"""Metrics of free text equal their reference implementations."""

import re
import string
from collections import Counter

import pytest
import sacrebleu
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from blossomtune.evaluation import text_metrics
from blossomtune.evaluation.text_metrics import WordTokenizer

NASTY = ["", " ", "😀", "👩\u200d👧 x", "שלום עולם", "مرحبا", "我爱北京天安门", "The a an"]
NASTY += ["\x00\n\t", "naïve é é", "हिन्दी में", "ภาษาไทย", "İstanbul", "ﬁ ½ ²"]
TEXTS = st.text(max_size=30) | st.text("ab 一 the.", max_size=30) | st.sampled_from(NASTY)
PAIRS = [(a, b) for a in NASTY for b in NASTY]


def squad_normalize(text):
    """Lower text and remove punctuation, articles and extra whitespace, as SQuAD's script does."""
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.compile(r"\b(a|an|the)\b", re.UNICODE).sub(" ", text).split())


def squad_f1(answer, reference):
    """Compute SQuAD 2.0's F1: without tokens on either side, 1 if both have none."""
    right, words = squad_normalize(reference).split(), squad_normalize(answer).split()
    same = sum((Counter(right) & Counter(words)).values())
    if len(right) == 0 or len(words) == 0:
        return int(right == words)
    if same == 0:
        return 0
    precision, recall = same / len(words), same / len(right)
    return 2 * precision * recall / (precision + recall)


def check(answer, reference):
    """Compare all metrics of two texts with the references."""
    assert text_metrics.exact_match(answer, reference) == (answer.strip() == reference.strip())
    is_same = squad_normalize(answer) == squad_normalize(reference)
    assert text_metrics.normalized_exact_match(answer, reference) == is_same
    assert text_metrics.token_f1(answer, reference) == pytest.approx(squad_f1(answer, reference))
    chrf = sacrebleu.sentence_chrf(answer, [reference]).score
    assert text_metrics.chrf(answer, reference) == pytest.approx(chrf / 100)
    rouge = text_metrics.rouge_l(answer, reference)
    assert rouge == pytest.approx(score_rouge(spell(reference), spell(answer)))
    if answer.isascii() and reference.isascii():
        assert rouge == score_rouge(reference, answer)


def score_rouge(reference, answer):
    return RougeScorer(["rougeL"]).score(reference, answer)["rougeL"].fmeasure


def spell(text):
    """Replace each word by one of ASCII characters, for the tokenizer of rouge-score."""
    return " ".join(word.encode().hex() for word in WordTokenizer().tokenize(text))


@given(TEXTS, TEXTS)
@settings(max_examples=100, deadline=None)
@example("same words here", "same words here")
def test_random_texts_have_the_references_scores(answer, reference):
    check(answer, reference)


def test_nasty_texts_have_the_references_scores():
    for answer, reference in PAIRS:
        check(answer, reference)


def test_very_long_texts_have_the_references_scores():
    check("the cat sat on the mat, " * 150, "on a mat the cat had sat 😀 " * 100)


@given(st.text(st.characters(max_codepoint=127), max_size=60))
@settings(max_examples=100, deadline=None)
def test_words_of_ascii_text_are_those_of_rouge_score(text):
    from rouge_score.tokenize import tokenize

    assert WordTokenizer().tokenize(text) == tokenize(text, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("我爱 NLP！", ["我", "爱", "nlp"]),
        ("Größe: 5 µm", ["größe", "5", "µm"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("שלום, עולם", ["שלום", "עולם"]),
        ("カタカナ", ["カ", "タ", "カ", "ナ"]),
        ("😀", []),
    ],
)
def test_other_scripts_have_words(text, words):
    assert WordTokenizer().tokenize(text) == words


def test_chinese_answers_have_a_rouge_score():
    assert text_metrics.rouge_l("我爱北京", "我爱上海") == pytest.approx(0.5)
