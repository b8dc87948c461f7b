"""Compute metrics as functions of row weights, which give both values and bootstrap intervals.

With weights of 1, a function returns the metric. With the counts of a bootstrap resample, it
returns the metric of that resample. Intervals are percentile intervals (Efron, Annals of
Statistics 7, 1979).
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blossomtune.artifacts.metrics import ClientValue, ConfidenceInterval, Fairness, GroupMetrics

CONFIDENCE_LEVEL = 0.95

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def draw_bootstrap_weights(num_rows: int, num_resamples: int, seed: int) -> Floats:
    """Return row weights: ones, then the counts of each bootstrap resample.

    Args:
        num_rows: R, number of rows.
        num_resamples: B, number of draws of R rows with replacement.
        seed: Seed of the draws.

    Returns:
        (1 + B, R) float64; each row sums to R.
    """
    counts = np.random.default_rng(seed).multinomial(
        num_rows, np.full(num_rows, 1 / num_rows), size=num_resamples
    )
    return np.concatenate([np.ones((1, num_rows)), counts])


def compute_interval(values: Floats, decimals: int | None = None) -> ConfidenceInterval:
    """Return a metric's value, the first of ``values``, and its 95 % interval from the others.

    Args:
        values: (1 + B,) metric of the rows and of each resample.
        decimals: Decimals to round to; by default five significant digits. More digits would
            depend on the order of float32 sums.

    Returns:
        Rounded value and bounds.
    """
    low, high = np.quantile(values[1:], [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2])

    def round_value(value: float) -> float:
        if decimals is None:
            return float(f"{value:.5g}")
        return round(float(value), decimals) + 0.0  # no -0.0

    return ConfidenceInterval(
        value=round_value(values[0]), low=round_value(low), high=round_value(high)
    )


def weighted_mean(weights: Floats, values: Floats, counts: Integers | None = None) -> Floats:
    """Return the weighted sum of values divided by that of counts.

    Args:
        weights: (1 + B, R) row weights.
        values: (R,) sum of a quantity per row, e.g. a loss over tokens.
        counts: (R,) number of items per row, by default 1.

    Returns:
        (1 + B,) float64.
    """
    totals = weights @ (np.ones(len(values)) if counts is None else counts)
    means: Floats = weights @ values / totals
    return means


def macro_f1(weights: Floats, gold: Integers, predicted: Integers, num_classes: int) -> Floats:
    """Return the unweighted mean of the classes' F1 scores.

    A class that is neither gold nor predicted in a resample is left out of that resample's mean.

    Args:
        weights: (1 + B, R) row weights.
        gold: (R,) right class of each row, in [0, num_classes).
        predicted: (R,) predicted class of each row.
        num_classes: Number of classes.

    Returns:
        (1 + B,) macro-F1.
    """
    total, present = np.zeros(len(weights)), np.zeros(len(weights))
    for c in range(num_classes):
        hits = weights @ ((gold == c) & (predicted == c))
        marked = weights @ (gold == c) + weights @ (predicted == c)  # 2 TP + FP + FN
        total += np.divide(2 * hits, marked, out=np.zeros(len(weights)), where=marked > 0)
        present += marked > 0
    return total / present


def confusion_matrix(
    gold: Integers, predictions: Sequence[Integers], class_names: Sequence[str]
) -> dict[str, dict[str, int | float]]:
    """Return the rows per right and predicted class: ``{gold: {predicted: rows}}``.

    Args:
        gold: (R,) right class of each row.
        predictions: Per model, (R,) predicted class of each row.
        class_names: Names of the classes.

    Returns:
        Counts for one model, means of counts for several.
    """

    def count_rows(i: int, j: int) -> int | float:
        counts = [int(((gold == i) & (predicted == j)).sum()) for predicted in predictions]
        return counts[0] if len(counts) == 1 else round(sum(counts) / len(counts), 2)

    return {
        a: {b: count_rows(i, j) for j, b in enumerate(class_names)}
        for i, a in enumerate(class_names)
    }


def summarize_fairness(
    clients: Mapping[str, GroupMetrics], row_source: Literal["own", "common"]
) -> Fairness:
    """Return how much a metric differs between clients.

    The metric is accuracy if there are choices, else the loss. ``spread`` is its standard deviation
    over clients, unweighted.

    Args:
        clients: Metrics by client name, at least one.
        row_source: Whether the rows are the clients' own test rows or common ones.

    Returns:
        Worst and best client, and the spread.
    """
    measure: Literal["accuracy", "loss"] = "accuracy"
    if next(iter(clients.values())).accuracy is None:
        measure = "loss"
    values = {name: getattr(group, measure).value for name, group in clients.items()}
    order = sorted(values, key=lambda name: values[name], reverse=measure == "loss")
    return Fairness(
        measure=measure,
        worst=ClientValue(client=order[0], value=values[order[0]]),
        best=ClientValue(client=order[-1], value=values[order[-1]]),
        spread=float(f"{np.std(list(values.values())):.5g}"),
        row_source=row_source,
    )
