"""Several models on the same held-out rows."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blossomtune.evaluation import metrics
from blossomtune.evaluation.rows import Row
from blossomtune.evaluation.scores import Scores, score
from blossomtune.seeds import derive


def evaluate(
    models: Mapping[str, Path], rows: Sequence[Row], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Scores each model on the rows, one in memory at a time.

    Args:
        models: name to Hugging Face directory; ``base`` and ``federated`` are among them.
        rows: the held-out rows.
        settings: the configuration of the stage: ``choices``, ``by``, ``generation``,
            ``batch_size``, ``bootstrap`` and ``seed``.

    Returns:
        What metrics.json holds: a summary a model, and under ``difference`` how much better the
        federated model is than the base. Both answer the same rows, so the difference is taken
        row by row and its interval is narrower than those of the two models suggest.
    """
    summaries, right = {}, {}
    for name, directory in models.items():
        scores = score(directory, rows, settings, name)
        summaries[name] = summary(scores, rows, settings)
        if settings["choices"]:
            right[name] = scores.predicted == _gold(rows, settings)
        print(f"{name}: {_line(summaries[name])}", file=sys.stderr, flush=True)
    difference = None
    if settings["choices"]:
        w = _weights(len(rows), settings)
        better = right["federated"].astype(float) - right["base"]
        difference = metrics.interval(metrics.mean(w, better))
    return {**summaries, "difference": {"accuracy": difference}}


def summary(scores: Scores, rows: Sequence[Row], settings: Mapping[str, Any]) -> dict[str, Any]:
    """One model's metrics with their intervals."""
    w = _weights(len(rows), settings)
    gold, predicted, choices = _gold(rows, settings), scores.predicted, settings["choices"]
    f1 = table = exact = None
    if choices:
        f1 = metrics.interval(metrics.macro_f1(w, gold, predicted, len(choices)))
        table = metrics.confusion(gold, predicted, choices)
    if scores.exact is not None:
        drawn = _weights(len(scores.exact), settings, "exact_match")
        exact = metrics.interval(metrics.mean(drawn, scores.exact))
        exact["rows"] = len(scores.exact)
    return {
        **_core(w, scores, gold, np.arange(len(rows))),
        "macro_f1": f1,
        "confusion": table,
        "exact_match": exact,
        "by_column": settings["by"],
        "by": _by_group(scores, rows, gold, settings) if settings["by"] else None,
    }


def _core(
    w: np.ndarray, scores: Scores, gold: np.ndarray | None, chosen: np.ndarray
) -> dict[str, Any]:
    """The metrics that make sense for any part of the rows."""
    loss = metrics.mean(w, scores.nll[chosen], scores.tokens[chosen])
    accuracy = None
    if gold is not None:
        accuracy = metrics.interval(metrics.mean(w, (scores.predicted == gold)[chosen]))
    return {
        "rows": len(chosen),
        "loss": metrics.interval(loss),
        "perplexity": metrics.interval(np.exp(loss)),
        "accuracy": accuracy,
    }


def _by_group(
    scores: Scores, rows: Sequence[Row], gold: np.ndarray | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    groups = np.array([row.group for row in rows])
    parts = {}
    for value in sorted(set(groups.tolist())):
        chosen = np.flatnonzero(groups == value)
        parts[value] = _core(_weights(len(chosen), settings, value), scores, gold, chosen)
    return parts


def _gold(rows: Sequence[Row], settings: Mapping[str, Any]) -> np.ndarray | None:
    choices = settings["choices"]
    return np.array([choices.index(row.completion) for row in rows]) if choices else None


def _weights(rows: int, settings: Mapping[str, Any], *part: str) -> np.ndarray:
    """The same resamples for every model, so that their differences are paired."""
    return metrics.weights(
        rows, settings["bootstrap"], derive(settings["seed"], "bootstrap", *part)
    )


def _line(part: Mapping[str, Any]) -> str:
    words = [f"{part['rows']} rows", f"loss {part['loss']['value']:.3f}"]
    words += [
        f"{name.replace('_', ' ')} {part[name]['value']:.1%}"
        for name in ("accuracy", "exact_match")
        if part[name]
    ]
    return ", ".join(words)
