"""Tests of the search for questions in longer texts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.data.leaks.question_overlap import MIN_QUESTIONS, NGRAM_SIZE, QuestionOverlap

QUESTION = "A farmer has twelve cows, sells five of them and buys two. How many has she now?"
WORDS = st.lists(st.sampled_from("abcde"), max_size=14)


def compute_shares(questions, *batches):
    overlap = QuestionOverlap(questions)
    for texts in batches:
        overlap.add_texts(texts)
    return overlap.compute_shares().tolist()


@pytest.mark.parametrize(
    ("text", "share"),
    [
        (QUESTION, 1),
        (f"<|im_start|>user\nSolve this: {QUESTION.upper().replace(',', ' --')}\nNine.", 1),
        (QUESTION.replace("farmer", "baker"), 8 / 10),  # two of ten sequences have the word
        (QUESTION.replace("five", "six"), 3 / 10),
        (" ".join(reversed(QUESTION.split())), 0),
        ("", 0),
    ],
)
def test_questions_are_found_in_longer_texts(text, share):
    assert compute_shares([QUESTION], [text]) == [pytest.approx(share)]


def test_short_questions_are_found_as_a_whole_and_not_across_texts():
    questions = ["Who wrote Faust?", "", "!?"]
    assert compute_shares(questions, ["Tell me: who wrote", "Faust"]) == [0, 0, 0]
    assert compute_shares(questions, ["Tell me: who wrote Faust"])[0] == 1


def test_characters_are_words_in_scripts_without_spaces():
    question = "一个农夫有十二头牛,卖了五头,又买了两头"
    assert compute_shares([question], [f"请问:{question}。她现在有几头牛?"]) == [1]


def test_words_that_all_questions_have_do_not_count():
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    topics = [f"{a} plus {b} is what" for a in numbers for b in numbers[:2]]
    framed = [f"Question: {topic}?\nAnswer:" for topic in topics]
    assert len(framed) >= MIN_QUESTIONS
    shares = compute_shares(framed, ["Say: six plus two is what."])
    assert [framed[i] for i in np.flatnonzero(shares)] == [
        "Question: six plus two is what?\nAnswer:"
    ]
    assert compute_shares(framed[:2], ["Say: one plus one is what."]) == [0, 0]  # too few to tell


@given(st.lists(WORDS, max_size=4), st.lists(st.lists(WORDS, max_size=3), max_size=3))
def test_shares_equal_those_of_sets_of_word_sequences(questions, batches):
    def split(words, size):
        return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)} if size else set()

    texts = [words for batch in batches for words in batch]
    expected = []
    for words in questions:
        size = min(len(words), NGRAM_SIZE)
        seen = set().union(*(split(text, size) for text in texts))
        ngrams = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)] if size else []
        expected.append(sum(n in seen for n in ngrams) / len(ngrams) if ngrams else 0)
    joined = [[" ".join(words) for words in batch] for batch in batches]
    shares = compute_shares([" ".join(words) for words in questions], *joined)
    assert shares == pytest.approx(expected)
