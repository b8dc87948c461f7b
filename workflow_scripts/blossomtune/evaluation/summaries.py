"""From scores to the numbers of metrics.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from blossomtune.evaluation import metrics
from blossomtune.evaluation.rows import HeldOut
from blossomtune.evaluation.scores import Scores
from blossomtune.seeds import derive


@dataclass(frozen=True)
class Contender:
    """One model for all clients, or each client's own.

    Attributes:
        models: the scores of each; where there are several, every metric is the mean of theirs.
        asked: whose answers count on a client's rows.
    """

    models: Sequence[Scores]
    asked: Mapping[str, Scores]


class Summaries:
    """Makes summaries of one experiment's contenders, all by the same resamples.

    Args:
        held: the rows that were scored.
        settings: the configuration of the stage: ``choices``, ``by``, ``bootstrap`` and ``seed``.
    """

    def __init__(self, held: HeldOut, settings: Mapping[str, Any]) -> None:
        self.held, self.settings = held, settings
        self.choices = settings["choices"]
        self.gold = None
        if self.choices:
            self.gold = np.array([self.choices.index(row.completion) for row in held.rows])
        self.common = np.arange(held.common)
        self.weights = self._weights(held.common)

    def of(self, each: Contender) -> dict[str, Any]:
        """A contender's metrics with their intervals."""
        held, f1, table, exact = self.held, None, None, None
        if self.gold is not None:
            right, w = self.gold[self.common], self.weights
            predicted = [scores.predicted[self.common] for scores in each.models]
            several = [metrics.macro_f1(w, right, p, len(self.choices)) for p in predicted]
            f1 = metrics.interval(np.mean(several, axis=0))
            table = metrics.confusion(right, predicted, self.choices)
        if each.models[0].exact is not None:
            answers = np.mean([scores.exact for scores in each.models], axis=0)
            drawn = self._weights(len(answers), "exact_match")
            exact = metrics.interval(metrics.mean(drawn, answers)) | {"rows": len(answers)}
        clients = {
            name: self._part([scores], np.array(held.clients[name]), "client", name)
            for name, scores in each.asked.items()
        }
        return {
            **self.alone(each.models),
            "macro_f1": f1,
            "confusion": table,
            "exact_match": exact,
            "by_column": self.settings["by"],
            "by": self._by_group(each.models) if self.settings["by"] else None,
            "clients": clients or None,
            "fairness": metrics.fairness(clients) | {"rows": held.kind} if clients else None,
        }

    def alone(self, models: Sequence[Scores]) -> dict[str, Any]:
        """Size, loss, perplexity and accuracy on the common rows."""
        return self._part(models, self.common)

    def difference(self, one: Contender, other: Contender) -> dict[str, Any]:
        """The metrics of one on the common rows minus the other's, row by row."""
        accuracy = None
        if self.gold is not None:
            better = self._right(one.models, self.common) - self._right(other.models, self.common)
            accuracy = metrics.interval(metrics.mean(self.weights, better))
        losses = [_losses(self.weights, c.models, self.common).mean(axis=0) for c in (one, other)]
        less = losses[0] - losses[1]
        return {"accuracy": accuracy, "loss": metrics.interval(less, decimals=4)}

    def _part(self, models: Sequence[Scores], rows: np.ndarray, *part: str) -> dict[str, Any]:
        """The metrics that make sense for any part of the rows; it has resamples of its own."""
        w = self._weights(len(rows), *part) if part else self.weights
        losses, accuracy = _losses(w, models, rows), None
        if self.gold is not None:
            accuracy = metrics.interval(metrics.mean(w, self._right(models, rows)))
        return {
            "rows": len(rows),
            "loss": metrics.interval(losses.mean(axis=0)),
            "perplexity": metrics.interval(np.exp(losses).mean(axis=0)),
            "accuracy": accuracy,
        }

    def _by_group(self, models: Sequence[Scores]) -> dict[str, Any]:
        groups = np.array([row.group for row in self.held.rows[: self.held.common]])
        values = sorted(set(groups.tolist()))
        return {
            value: self._part(models, np.flatnonzero(groups == value), value) for value in values
        }

    def _right(self, models: Sequence[Scores], rows: np.ndarray) -> np.ndarray:
        """(rows,): the share of the models that are right about a row."""
        return np.mean([(scores.predicted == self.gold)[rows] for scores in models], axis=0)

    def _weights(self, rows: int, *part: str) -> np.ndarray:
        """The same resamples for every contender, so that their differences are paired."""
        seed = derive(self.settings["seed"], "bootstrap", *part)
        return metrics.weights(rows, self.settings["bootstrap"], seed)


def _losses(w: np.ndarray, models: Sequence[Scores], rows: np.ndarray) -> np.ndarray:
    """(models, 1 + B): each model's loss in nats a token."""
    return np.array([metrics.mean(w, s.nll[rows], s.tokens[rows]) for s in models])
