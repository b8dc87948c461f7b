"""Tests of metrics and bootstrap intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.artifacts.metrics import ClientValue, ConfidenceInterval, GroupMetrics
from blossomtune.evaluation import metrics

CLASSES = 3
pairs = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=40
)


def textbook_macro_f1(gold, predicted):
    """Return macro-F1 computed from precision and recall."""
    scores = []
    for c in set(gold) | set(predicted):
        hits = sum(g == p == c for g, p in zip(gold, predicted, strict=True))
        if hits == 0:
            scores.append(0.0)
            continue
        precision, recall = hits / list(predicted).count(c), hits / list(gold).count(c)
        scores.append(2 * precision * recall / (precision + recall))
    return sum(scores) / len(scores)


@given(pairs)
def test_macro_f1_equals_the_definition(drawn):
    gold, predicted = np.array(drawn).T
    ours = metrics.macro_f1(np.ones((1, len(gold))), gold, predicted, CLASSES)
    assert ours[0] == pytest.approx(textbook_macro_f1(gold.tolist(), predicted.tolist()))


@settings(max_examples=25)
@given(pairs, st.integers(0, 1000))
def test_weights_equal_repeated_rows(drawn, seed):
    gold, predicted = np.array(drawn).T
    weights = metrics.draw_bootstrap_weights(len(gold), 3, seed)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == len(gold)).all()
    values = np.arange(len(gold)) / 7
    for line, mean, f1 in zip(
        weights,
        metrics.weighted_mean(weights, values, values + 1),
        metrics.macro_f1(weights, gold, predicted, CLASSES),
        strict=True,
    ):
        repeated = np.repeat(np.arange(len(gold)), line.astype(int))  # the resample, row by row
        assert mean == pytest.approx(values[repeated].sum() / (values[repeated] + 1).sum())
        assert f1 == pytest.approx(
            textbook_macro_f1(gold[repeated].tolist(), predicted[repeated].tolist())
        )


def test_interval_of_a_mean_has_the_theoretical_width():
    right = np.arange(400) < 280  # accuracy 0.7; standard error sqrt(0.7 * 0.3 / 400) = 0.0229
    result = metrics.compute_interval(
        metrics.weighted_mean(metrics.draw_bootstrap_weights(400, 4000, seed=1), right)
    )
    assert result.value == 0.7
    assert result.low == pytest.approx(0.7 - 1.96 * 0.0229, abs=0.005)
    assert result.high == pytest.approx(0.7 + 1.96 * 0.0229, abs=0.005)


def test_resamples_depend_on_the_seed_only():
    assert (
        metrics.draw_bootstrap_weights(9, 20, 1) == metrics.draw_bootstrap_weights(9, 20, 1)
    ).all()
    assert (
        metrics.draw_bootstrap_weights(9, 20, 1) != metrics.draw_bootstrap_weights(9, 20, 2)
    ).any()


def test_confusion_matrix_counts_every_row_once():
    gold, one, other = np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0, 0, 1])
    table = metrics.confusion_matrix(gold, [one], ["no", "yes"])
    assert table == {"no": {"no": 1, "yes": 1}, "yes": {"no": 0, "yes": 1}}
    table = metrics.confusion_matrix(gold, [one, other], ["no", "yes"])
    assert table == {"no": {"no": 1.5, "yes": 0.5}, "yes": {"no": 0, "yes": 1}}


def build_group(loss, accuracy=None):
    """Return a group's metrics with these values."""
    interval, right = (
        None if v is None else ConfidenceInterval(value=v, low=v, high=v) for v in (loss, accuracy)
    )
    return GroupMetrics(rows=1, loss=interval, perplexity=interval, accuracy=right)


def test_fairness_has_worst_and_best_client_and_spread():
    clients = {
        "a": build_group(loss=0.1, accuracy=0.5),
        "b": build_group(loss=0.2, accuracy=0.9),
        "c": build_group(loss=0.6, accuracy=0.7),
    }
    assert metrics.summarize_fairness(clients, "own").model_dump() == {
        "measure": "accuracy",
        "worst": {"client": "a", "value": 0.5},
        "best": {"client": "b", "value": 0.9},
        "spread": 0.1633,  # sqrt((0.2² + 0.2² + 0²) / 3)
        "row_source": "own",
    }
    losses = {name: build_group(loss=group.loss.value) for name, group in clients.items()}
    assert metrics.summarize_fairness(losses, "common").model_dump() == {
        "measure": "loss",
        "worst": {"client": "c", "value": 0.6},
        "best": {"client": "a", "value": 0.1},
        "spread": 0.21602,  # sqrt((0.2² + 0.1² + 0.3²) / 3)
        "row_source": "common",
    }


def test_single_client_is_best_and_worst():
    result = metrics.summarize_fairness({"a": build_group(loss=0.1)}, "own")
    assert result.worst == result.best == ClientValue(client="a", value=0.1)
    assert result.spread == 0


def test_difference_is_rounded_without_negative_zero():
    result = metrics.compute_interval(np.array([-1e-9, 0.123456, 0.123456]), decimals=4)
    assert result == ConfidenceInterval(value=0, low=0.1235, high=0.1235)
    assert str(result.value) == "0.0"
