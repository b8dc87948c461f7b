"""From scores to the numbers of metrics.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from blossomtune.evaluation import metrics
from blossomtune.evaluation.rows import EvaluationSet
from blossomtune.evaluation.scores import RowScores
from blossomtune.seeds import derive_seed


@dataclass(frozen=True)
class EvaluatedModel:
    """One model for all clients, or each client's own.

    Attributes:
        models: the scores of each; where there are several, every metric is the mean of theirs.
        asked: whose answers count on a client's rows.
    """

    model_scores: Sequence[RowScores]
    client_scores: Mapping[str, RowScores]


class Summarizer:
    """Makes summaries of one experiment's contenders, all by the same resamples.

    Args:
        held: the rows that were scored.
        settings: the configuration of the stage: ``choices``, ``by``, ``bootstrap`` and ``seed``.
    """

    def __init__(self, evaluation_set: EvaluationSet, settings: Mapping[str, Any]) -> None:
        self.evaluation_set, self.settings = evaluation_set, settings
        self.choices = settings["choices"]
        self.gold = None
        if self.choices:
            self.gold = np.array(
                [self.choices.index(row.completion) for row in evaluation_set.rows]
            )
        self.common_positions = np.arange(evaluation_set.num_common_rows)
        self.weights = self._draw_weights(evaluation_set.num_common_rows)

    def summarize_model(self, model: EvaluatedModel) -> dict[str, Any]:
        """A contender's metrics with their intervals."""
        held, f1, table, exact = self.evaluation_set, None, None, None
        if self.gold is not None:
            right, w = self.gold[self.common_positions], self.weights
            predicted = [scores.predicted[self.common_positions] for scores in model.model_scores]
            several = [metrics.macro_f1(w, right, p, len(self.choices)) for p in predicted]
            f1 = metrics.compute_interval(np.mean(several, axis=0))
            table = metrics.confusion_matrix(right, predicted, self.choices)
        if model.model_scores[0].exact_match is not None:
            answers = np.mean([scores.exact_match for scores in model.model_scores], axis=0)
            drawn = self._draw_weights(len(answers), "exact_match")
            exact = metrics.compute_interval(metrics.weighted_mean(drawn, answers)) | {
                "rows": len(answers)
            }
        clients = {
            name: self._summarize_rows(
                [scores], np.array(held.rows_by_client[name]), "client", name
            )
            for name, scores in model.client_scores.items()
        }
        return {
            **self.summarize_common_rows(model.model_scores),
            "macro_f1": f1,
            "confusion": table,
            "exact_match": exact,
            "by_column": self.settings["by"],
            "by": self._summarize_groups(model.model_scores) if self.settings["by"] else None,
            "clients": clients or None,
            "fairness": metrics.summarize_fairness(clients) | {"row_source": held.client_row_source}
            if clients
            else None,
        }

    def summarize_common_rows(self, model_scores: Sequence[RowScores]) -> dict[str, Any]:
        """Size, loss, perplexity and accuracy on the common rows."""
        return self._summarize_rows(model_scores, self.common_positions)

    def compute_difference(
        self, model: EvaluatedModel, reference: EvaluatedModel
    ) -> dict[str, Any]:
        """The metrics of one on the common rows minus the other's, row by row."""
        accuracy = None
        if self.gold is not None:
            better = self._compute_accuracy_per_row(
                model.model_scores, self.common_positions
            ) - self._compute_accuracy_per_row(reference.model_scores, self.common_positions)
            accuracy = metrics.compute_interval(metrics.weighted_mean(self.weights, better))
        losses = [
            _compute_losses(self.weights, c.model_scores, self.common_positions).mean(axis=0)
            for c in (model, reference)
        ]
        less = losses[0] - losses[1]
        return {"accuracy": accuracy, "loss": metrics.compute_interval(less, decimals=4)}

    def _summarize_rows(
        self, model_scores: Sequence[RowScores], rows: np.ndarray, *seed_purposes: str
    ) -> dict[str, Any]:
        """The metrics that make sense for any part of the rows; it has resamples of its own."""
        w = self._draw_weights(len(rows), *seed_purposes) if seed_purposes else self.weights
        losses, accuracy = _compute_losses(w, model_scores, rows), None
        if self.gold is not None:
            accuracy = metrics.compute_interval(
                metrics.weighted_mean(w, self._compute_accuracy_per_row(model_scores, rows))
            )
        return {
            "rows": len(rows),
            "loss": metrics.compute_interval(losses.mean(axis=0)),
            "perplexity": metrics.compute_interval(np.exp(losses).mean(axis=0)),
            "accuracy": accuracy,
        }

    def _summarize_groups(self, model_scores: Sequence[RowScores]) -> dict[str, Any]:
        groups = np.array(
            [row.group for row in self.evaluation_set.rows[: self.evaluation_set.num_common_rows]]
        )
        values = sorted(set(groups.tolist()))
        return {
            value: self._summarize_rows(model_scores, np.flatnonzero(groups == value), value)
            for value in values
        }

    def _compute_accuracy_per_row(
        self, model_scores: Sequence[RowScores], rows: np.ndarray
    ) -> np.ndarray:
        """(rows,): the share of the models that are right about a row."""
        return np.mean([(scores.predicted == self.gold)[rows] for scores in model_scores], axis=0)

    def _draw_weights(self, num_rows: int, *seed_purposes: str) -> np.ndarray:
        """The same resamples for every contender, so that their differences are paired."""
        seed = derive_seed(self.settings["seed"], "bootstrap", *seed_purposes)
        return metrics.draw_bootstrap_weights(num_rows, self.settings["bootstrap"], seed)


def _compute_losses(
    weights: np.ndarray, model_scores: Sequence[RowScores], rows: np.ndarray
) -> np.ndarray:
    """(models, 1 + B): each model's loss in nats a token."""
    return np.array(
        [metrics.weighted_mean(weights, s.nll[rows], s.tokens[rows]) for s in model_scores]
    )
