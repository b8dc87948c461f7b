import json
import re

import pytest

from blossomtune.artifacts.answers import Answer, AnswerRecord
from blossomtune.errors import UserError
from blossomtune.judging.client import API_KEY_VARIABLE
from blossomtune.judging.compare import compare_answers


def build_records(rows):
    """Return records of rows; each is the answers by model."""
    return [
        AnswerRecord(
            row=i,
            prompt=f"Question {i}",
            references=["Right."],
            answers={name: Answer(text=text, scores={}) for name, text in row.items()},
        )
        for i, row in enumerate(rows)
    ]


def read_answers_of(body):
    """Return the two answers in a request, A first."""
    content = body["messages"][0]["content"]
    return re.findall(r"\[answer [AB] (\w+)\]\n(.*?)\n\[end of answer [AB] \1\]", content, re.S)


def prefer_longer(body):
    (_, a), (_, b) = read_answers_of(body)
    return "tie" if len(a) == len(b) else "A" if len(a) > len(b) else "B"


@pytest.fixture
def compare(build_settings, tmp_path):
    """Return a function that compares rows by an endpoint."""

    def run(endpoint, answers, **keys):
        settings = {"judge": build_settings(endpoint.base_url, **keys), "bootstrap": 200, "seed": 1}
        return compare_answers(build_records(answers), settings, tmp_path / "cache")

    return run


ROWS = [
    {"base": "bb", "federated": "fff", "centralised": "c"},
    {"base": "bbb", "federated": "ff", "centralised": "cc"},
    {"base": "bbb", "federated": "fff", "centralised": "fff"},
]


def test_federated_is_compared_with_each_other_model_in_both_orders(compare, start_endpoint):
    endpoint = start_endpoint(prefer_longer)
    results = compare(endpoint, ROWS)
    counts = {name: (p.wins, p.losses, p.ties) for name, p in results.pairs.items()}
    assert counts == {"base": (1, 1, 1), "centralised": (1, 0, 2)}
    assert results.model == "judge-1"
    assert results.pairs["base"].inconsistent == results.pairs["base"].unreadable == 0
    # two orders of three rows, and of two rows with different answers
    asked = [tuple(text for _, text in read_answers_of(body)) for body, _ in endpoint.requests]
    assert len(asked) == 10 and {(b, a) for a, b in asked} == set(asked)


def test_verdict_that_follows_the_order_is_a_tie(compare, start_endpoint):
    pair = compare(start_endpoint("A"), ROWS[:2]).pairs["base"]
    assert (pair.ties, pair.inconsistent, pair.win_rate.value) == (2, 2, 0.5)
    assert (pair.win_rate.low, pair.win_rate.high) == (0.5, 0.5)


def test_unreadable_verdicts_are_counted(compare, start_endpoint):
    pair = compare(start_endpoint("Both are fine."), ROWS[:2]).pairs["base"]
    assert (pair.ties, pair.unreadable, pair.inconsistent) == (2, 2, 0)


def test_answered_requests_are_not_sent_again(compare, start_endpoint, tmp_path):
    endpoint = start_endpoint(prefer_longer)
    first = compare(endpoint, ROWS)
    assert len(endpoint.requests) == 10
    assert compare(endpoint, ROWS) == first
    assert len(endpoint.requests) == 10
    compare(endpoint, ROWS, instructions="Prefer the shorter one.")
    assert len(endpoint.requests) == 20
    stored = [json.loads(file.read_text()) for file in (tmp_path / "cache").iterdir()]
    assert {choice["choice"]["text"] for choice in stored} == {"A", "B", "tie"}


def test_run_goes_on_after_a_failure(compare, start_endpoint, tmp_path):
    endpoint = start_endpoint(prefer_longer)
    endpoint.reply = lambda body: (401, {}, b"") if len(endpoint.requests) > 4 else "tie"
    with pytest.raises(UserError, match="HTTP status 401"):
        compare(endpoint, ROWS, parallel_requests=1)
    stored = list((tmp_path / "cache").iterdir())
    assert len(stored) == 4
    endpoint.requests.clear()
    stored[0].write_text('{"request"')  # damaged: it is asked again
    endpoint.reply = prefer_longer
    compare(endpoint, ROWS)
    assert len(endpoint.requests) == 7


def test_number_of_requests_at_once_is_bounded(compare, start_endpoint):
    endpoint = start_endpoint(prefer_longer)
    endpoint.delay = 0.02
    rows = [{"base": "b" * (i + 1), "federated": "f"} for i in range(8)]
    compare(endpoint, rows, parallel_requests=3)
    assert 1 < endpoint.most_at_once <= 3


def test_sample_of_rows_is_the_same_for_all_pairs(compare, start_endpoint):
    endpoint = start_endpoint(prefer_longer)
    rows = [{"base": f"b{i}", "federated": "f", "centralised": f"cc{i}"} for i in range(9)]
    results = compare(endpoint, rows, rows=4)
    assert {pair.rows for pair in results.pairs.values()} == {4}
    contents = [body["messages"][0]["content"] for body, _ in endpoint.requests]
    assert len({re.search(r"Question \d", content)[0] for content in contents}) == 4
    assert len(contents) == 16


def test_key_is_in_no_file(compare, start_endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv(API_KEY_VARIABLE, "sk-very-secret")
    endpoint = start_endpoint(prefer_longer)
    compare(endpoint, ROWS)
    assert {key for _, key in endpoint.requests} == {"Bearer sk-very-secret"}
    assert not [f for f in (tmp_path / "cache").iterdir() if "very-secret" in f.read_text()]


def test_no_answers_are_an_error(compare, start_endpoint):
    with pytest.raises(UserError, match="no generated answers"):
        compare(start_endpoint(), [])
