"""Summarize scores as metrics with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blossomtune.artifacts.metrics import (
    GroupMetrics,
    ModelMetrics,
    PairedDifference,
    SampledInterval,
)
from blossomtune.evaluation import metrics
from blossomtune.evaluation.metrics import Floats
from blossomtune.evaluation.rows import EvaluationSet
from blossomtune.evaluation.scores import RowScores
from blossomtune.seeds import derive_seed

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class EvaluatedModel:
    """The scores of one model for all clients, or of one model per client.

    Attributes:
        model_scores: Scores of each model; metrics of several models are means over the models.
        client_scores: By client name, scores of the model that counts on the client's rows.
    """

    model_scores: Sequence[RowScores]
    client_scores: Mapping[str, RowScores]


class Summarizer:
    """Summarizes an experiment's models, all with the same bootstrap resamples.

    Args:
        evaluation_set: The rows that were scored.
        settings: The stage's settings ``choices``, ``by``, ``bootstrap`` and ``seed``.
        common_rows: Positions of the common rows that count; None for all.
    """

    def __init__(
        self,
        evaluation_set: EvaluationSet,
        settings: Mapping[str, Any],
        common_rows: Positions | None = None,
    ) -> None:
        self.evaluation_set, self.settings = evaluation_set, settings
        self.choices = settings["choices"]
        if self.choices:
            gold = [self.choices.index(row.completion) for row in evaluation_set.rows]
            self.gold = np.array(gold)
        if common_rows is None:
            common_rows = np.arange(evaluation_set.num_common_rows)
        self.common_rows = common_rows
        self.weights = self._draw_weights(len(common_rows))

    def summarize_model(self, model: EvaluatedModel) -> ModelMetrics:
        """Return a model's metrics with their intervals."""
        macro_f1, confusion, exact_match, fairness = None, None, None, None
        all_scores = model.model_scores
        if self.choices:
            gold = self.gold[self.common_rows]
            predictions = [
                s.predicted[self.common_rows] for s in all_scores if s.predicted is not None
            ]
            f1 = [metrics.macro_f1(self.weights, gold, p, len(self.choices)) for p in predictions]
            macro_f1 = metrics.compute_interval(np.mean(f1, axis=0))
            confusion = metrics.confusion_matrix(gold, predictions, self.choices)
        matches = [s.exact_match for s in all_scores]
        if len(matches[0]):
            mean_match = np.mean(matches, axis=0)
            weights = self._draw_weights(len(mean_match), "exact_match")
            interval = metrics.compute_interval(metrics.weighted_mean(weights, mean_match))
            exact_match = SampledInterval(**dict(interval), rows=len(mean_match))
        clients = {
            name: self._summarize_rows(
                [scores], np.array(self.evaluation_set.rows_by_client[name]), "client", name
            )
            for name, scores in model.client_scores.items()
        }
        row_source = self.evaluation_set.client_row_source
        if clients and row_source:
            fairness = metrics.summarize_fairness(clients, row_source)
        return ModelMetrics(
            **dict(self.summarize_common_rows(all_scores)),
            macro_f1=macro_f1,
            confusion=confusion,
            exact_match=exact_match,
            by_column=self.settings["by"],
            by=self._summarize_groups(all_scores) if self.settings["by"] else None,
            clients=clients or None,
            fairness=fairness,
        )

    def summarize_common_rows(self, model_scores: Sequence[RowScores]) -> GroupMetrics:
        """Return loss, perplexity and accuracy on the common rows."""
        return self._summarize_rows(model_scores, self.common_rows)

    def compute_difference(
        self, model: EvaluatedModel, reference: EvaluatedModel
    ) -> PairedDifference:
        """Return one model's metrics on the common rows minus another's, paired by row.

        Args:
            model: The minuend.
            reference: The subtrahend.

        Returns:
            Differences of accuracy and loss.
        """
        accuracy, rows, pair = None, self.common_rows, (model, reference)
        if self.choices:
            correct, reference_correct = (
                self._compute_accuracy(m.model_scores, rows) for m in pair
            )
            accuracy = metrics.compute_interval(
                metrics.weighted_mean(self.weights, correct - reference_correct)
            )
        loss, reference_loss = (
            _compute_losses(self.weights, m.model_scores, rows).mean(axis=0) for m in pair
        )
        return PairedDifference(
            accuracy=accuracy, loss=metrics.compute_interval(loss - reference_loss, decimals=4)
        )

    def _summarize_rows(
        self, model_scores: Sequence[RowScores], rows: Positions, *seed_purposes: str
    ) -> GroupMetrics:
        """Return the metrics of some rows, with resamples of their own if a purpose is given."""
        weights = self._draw_weights(len(rows), *seed_purposes) if seed_purposes else self.weights
        losses, accuracy = _compute_losses(weights, model_scores, rows), None
        if self.choices:
            correct = self._compute_accuracy(model_scores, rows)
            accuracy = metrics.compute_interval(metrics.weighted_mean(weights, correct))
        return GroupMetrics(
            rows=len(rows),
            loss=metrics.compute_interval(losses.mean(axis=0)),
            perplexity=metrics.compute_interval(np.exp(losses).mean(axis=0)),
            accuracy=accuracy,
        )

    def _summarize_groups(self, model_scores: Sequence[RowScores]) -> dict[str, GroupMetrics]:
        rows = self.evaluation_set.rows[: self.evaluation_set.num_common_rows]
        groups = np.array([row.group for row in rows])
        return {
            group: self._summarize_rows(model_scores, np.flatnonzero(groups == group), group)
            for group in sorted(set(groups.tolist()))
        }

    def _compute_accuracy(self, model_scores: Sequence[RowScores], rows: Positions) -> Floats:
        """Return (rows,) shares of the models that predict a row's gold choice."""
        predictions = [s.predicted[rows] for s in model_scores if s.predicted is not None]
        correct = [np.equal(predicted, self.gold[rows]) for predicted in predictions]
        shares: Floats = np.mean(correct, axis=0)
        return shares

    def _draw_weights(self, num_rows: int, *seed_purposes: str) -> Floats:
        """Draw the same resamples for every model, so that differences are paired."""
        seed = derive_seed(self.settings["seed"], "bootstrap", *seed_purposes)
        return metrics.draw_bootstrap_weights(num_rows, self.settings["bootstrap"], seed)


def _compute_losses(weights: Floats, model_scores: Sequence[RowScores], rows: Positions) -> Floats:
    """Return (models, 1 + B) losses in nats per token."""
    return np.array(
        [metrics.weighted_mean(weights, s.nll[rows], s.tokens[rows]) for s in model_scores]
    )
