"""Metrics as functions of row weights, so that one line gives both value and interval.

With all weights 1 a function returns the metric itself; with the counts of a bootstrap resample
it returns the metric of that resample. Intervals are Efron's percentile intervals (Annals of
Statistics 7, 1979).
"""

import numpy as np

LEVEL = 0.95


def weights(rows: int, resamples: int, seed: int) -> np.ndarray:
    """How often each row counts: once, then as often as each resample drew it.

    Args:
        rows: R, how many rows there are.
        resamples: B, how many times R rows are drawn with replacement.
        seed: of the draws.

    Returns:
        (1 + B, R) float64; every line sums to R, the first is all ones.
    """
    drawn = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    return np.concatenate([np.ones((1, rows)), drawn])


def interval(values: np.ndarray) -> dict[str, float]:
    """A metric's value (the first of ``values``) with its 95 % interval (from the others)."""
    low, high = np.quantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # Digits after the first five tell the order of float32 sums, not the model.
    return {k: float(f"{v:.5g}") for k, v in (("value", values[0]), ("low", low), ("high", high))}


def mean(w: np.ndarray, values: np.ndarray, each: np.ndarray | None = None) -> np.ndarray:
    """Sum of ``values`` over the sum of ``each`` (by default 1 a row): (1 + B,) from (R,)."""
    return w @ values / (w @ (np.ones(len(values)) if each is None else each))


def macro_f1(w: np.ndarray, gold: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
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
    total, present = np.zeros(len(w)), np.zeros(len(w))
    for c in range(classes):
        hits = w @ ((gold == c) & (predicted == c))
        marked = w @ (gold == c) + w @ (
            predicted == c
        )  # 2 hits + false positives + false negatives
        total += np.divide(2 * hits, marked, out=np.zeros(len(w)), where=marked > 0)
        present += marked > 0
    return total / present


def confusion(gold: np.ndarray, predicted: np.ndarray, names: list[str]) -> dict:
    """Rows by right class and predicted class: ``{gold: {predicted: rows}}``."""
    return {
        a: {b: int(((gold == i) & (predicted == j)).sum()) for j, b in enumerate(names)}
        for i, a in enumerate(names)
    }
