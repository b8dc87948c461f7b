"""Metrics as functions of row weights, so that one line gives both value and interval.

With all weights 1 a function returns the metric itself; with the counts of a bootstrap resample
it returns the metric of that resample. Intervals are Efron's percentile intervals (Annals of
Statistics 7, 1979).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

CONFIDENCE_LEVEL = 0.95


def draw_bootstrap_weights(num_rows: int, num_resamples: int, seed: int) -> np.ndarray:
    """How often each row counts: once, then as often as each resample drew it.

    Args:
        rows: R, how many rows there are.
        resamples: B, how many times R rows are drawn with replacement.
        seed: of the draws.

    Returns:
        (1 + B, R) float64; every line sums to R, the first is all ones.
    """
    drawn = np.random.default_rng(seed).multinomial(
        num_rows, np.full(num_rows, 1 / num_rows), size=num_resamples
    )
    return np.concatenate([np.ones((1, num_rows)), drawn])


def compute_interval(values: np.ndarray, decimals: int | None = None) -> dict[str, float]:
    """A metric's value (the first of ``values``) with its 95 % interval (from the others).

    Args:
        values: (1 + B,), of the rows and of every resample.
        decimals: where to round; by default after five digits. More of them tell the order of
            float32 sums, not the model. (A small difference of large values has fewer to tell.)
    """
    low, high = np.quantile(values[1:], [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2])
    found = {"value": values[0], "low": low, "high": high}
    if decimals is not None:
        return {k: round(float(v), decimals) + 0.0 for k, v in found.items()}  # no -0.0
    return {k: float(f"{v:.5g}") for k, v in found.items()}


def weighted_mean(
    weights: np.ndarray, values: np.ndarray, counts: np.ndarray | None = None
) -> np.ndarray:
    """Sum of ``values`` over the sum of ``each`` (by default 1 a row): (1 + B,) from (R,)."""
    return weights @ values / (weights @ (np.ones(len(values)) if counts is None else counts))


def macro_f1(
    weights: np.ndarray, gold: np.ndarray, predicted: np.ndarray, num_classes: int
) -> np.ndarray:
    """Mean of the classes' F1, whatever their sizes.

    A class that is neither right nor predicted anywhere in a resample has no F1 and is left out
    of that resample's mean.

    Args:
        w: (1 + B, R) weights.
        gold: (R,) right class of each row, in [0, classes).
        predicted: (R,) predicted class of each row.
        classes: how many there are.

    Returns:
        (1 + B,) macro-F1.
    """
    total, present = np.zeros(len(weights)), np.zeros(len(weights))
    for c in range(num_classes):
        hits = weights @ ((gold == c) & (predicted == c))
        marked = weights @ (gold == c) + weights @ (
            predicted == c
        )  # 2 hits + false positives + false negatives
        total += np.divide(2 * hits, marked, out=np.zeros(len(weights)), where=marked > 0)
        present += marked > 0
    return total / present


def confusion_matrix(
    gold: np.ndarray, predicted: Sequence[np.ndarray], class_names: list[str]
) -> dict:
    """Rows by right class and predicted class: ``{gold: {predicted: rows}}``.

    Args:
        gold: (R,) right class of each row.
        predicted: (R,) predicted class of each row, by one model or more.
        names: of the classes.

    Returns:
        Whole numbers for one model, means over several.
    """

    def rows(i: int, j: int) -> float:
        found = [int(((gold == i) & (each == j)).sum()) for each in predicted]
        return found[0] if len(found) == 1 else round(sum(found) / len(found), 2)

    return {
        a: {b: rows(i, j) for j, b in enumerate(class_names)} for i, a in enumerate(class_names)
    }


def summarize_fairness(clients: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How differently clients fare.

    Args:
        clients: name to a part's metrics; at least one.

    Returns:
        The measure (accuracy where there is one, else the loss), who fares worst and best by it,
        and ``spread``, its standard deviation over the clients, each of them counting once.
    """
    measure = "loss" if next(iter(clients.values()))["accuracy"] is None else "accuracy"
    found = {name: part[measure]["value"] for name, part in clients.items()}
    order = sorted(found, key=lambda name: found[name], reverse=measure == "loss")
    return {
        "measure": measure,
        "worst": {"client": order[0], "value": found[order[0]]},
        "best": {"client": order[-1], "value": found[order[-1]]},
        "spread": float(f"{np.std(list(found.values())):.5g}"),
    }
