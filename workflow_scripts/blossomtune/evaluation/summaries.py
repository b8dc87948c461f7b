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
        self.has_choices = bool(settings["choices"])
        self.has_own_choices = isinstance(settings["choices"], Mapping)
        self.gold = np.array([row.choices.gold for row in evaluation_set.rows])
        if common_rows is None:
            common_rows = np.arange(evaluation_set.num_common_rows)
        self.common_rows = common_rows
        self.weights = self._draw_weights(len(common_rows))

    def summarize_model(self, model: EvaluatedModel) -> ModelMetrics:
        """Return a model's metrics with their intervals."""
        macro_f1, confusion, fairness = None, None, None
        all_scores, names = model.model_scores, self.settings["choices"]
        if self.has_choices and not self.has_own_choices:
            gold = self.gold[self.common_rows]
            predictions = [
                s.predicted[self.common_rows] for s in all_scores if s.predicted is not None
            ]
            f1 = [metrics.macro_f1(self.weights, gold, p, len(names)) for p in predictions]
            macro_f1 = metrics.compute_interval(np.mean(f1, axis=0))
            confusion = metrics.confusion_matrix(gold, predictions, names)
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
            by_column=self.settings["by"],
            by=self._summarize_groups(all_scores) if self.settings["by"] else None,
            clients=clients or None,
            fairness=fairness,
        )

    def summarize_common_rows(self, model_scores: Sequence[RowScores]) -> GroupMetrics:
        """Return the metrics on the common rows, without those of parts of them."""
        summary = self._summarize_rows(model_scores, self.common_rows)
        answer_metrics = self._summarize_answers(self._average_answer_scores(model_scores))
        return summary.model_copy(update={"answer_metrics": answer_metrics})

    def compute_difference(
        self, model: EvaluatedModel, reference: EvaluatedModel
    ) -> PairedDifference:
        """Return one model's metrics on the common rows minus another's, paired by row.

        Args:
            model: The minuend.
            reference: The subtrahend.

        Returns:
            Differences of all metrics.
        """
        rows, pair = self.common_rows, (model, reference)
        accuracies = [self._compute_accuracies(m.model_scores, rows) for m in pair]
        accuracy, accuracy_norm = (
            metrics.compute_interval(metrics.weighted_mean(self.weights, correct - other))
            if correct is not None and other is not None
            else None
            for correct, other in zip(*accuracies, strict=True)
        )
        answers, other_answers = (self._average_answer_scores(m.model_scores) for m in pair)
        loss, reference_loss = (
            _compute_losses(self.weights, m.model_scores, rows).mean(axis=0) for m in pair
        )
        return PairedDifference(
            accuracy=accuracy,
            accuracy_norm=accuracy_norm,
            loss=metrics.compute_interval(loss - reference_loss, decimals=4),
            answer_metrics=self._summarize_answers(
                {name: values - other_answers[name] for name, values in answers.items()}
            ),
        )

    def _summarize_rows(
        self, model_scores: Sequence[RowScores], rows: Positions, *seed_purposes: str
    ) -> GroupMetrics:
        """Return the metrics of some rows, with resamples of their own if a purpose is given."""
        weights = self._draw_weights(len(rows), *seed_purposes) if seed_purposes else self.weights
        losses = _compute_losses(weights, model_scores, rows)
        accuracy, accuracy_norm = (
            None
            if correct is None
            else metrics.compute_interval(metrics.weighted_mean(weights, correct))
            for correct in self._compute_accuracies(model_scores, rows)
        )
        return GroupMetrics(
            rows=len(rows),
            loss=metrics.compute_interval(losses.mean(axis=0)),
            perplexity=metrics.compute_interval(np.exp(losses).mean(axis=0)),
            accuracy=accuracy,
            accuracy_norm=accuracy_norm,
        )

    def _summarize_answers(self, scores: Mapping[str, Floats]) -> dict[str, SampledInterval] | None:
        """Return the mean of each metric over the rows that it applies to; None without any."""
        summary = {}
        for name, values in scores.items():
            values = values[~np.isnan(values)]
            if len(values):
                weights = self._draw_weights(len(values), "exact_match")
                interval = metrics.compute_interval(metrics.weighted_mean(weights, values))
                summary[name] = SampledInterval(**dict(interval), rows=len(values))
        return summary or None

    def _average_answer_scores(self, model_scores: Sequence[RowScores]) -> dict[str, Floats]:
        """Return by metric the means over the models, for sampled rows that count."""
        counts = np.isin(model_scores[0].sampled_rows, self.common_rows)
        return {
            name: np.mean([s.answer_scores[name] for s in model_scores], axis=0)[counts]
            for name in model_scores[0].answer_scores
        }

    def _summarize_groups(self, model_scores: Sequence[RowScores]) -> dict[str, GroupMetrics]:
        rows = self.evaluation_set.rows[: self.evaluation_set.num_common_rows]
        groups = np.array([row.group for row in rows])
        return {
            group: self._summarize_rows(model_scores, np.flatnonzero(groups == group), group)
            for group in sorted(set(groups.tolist()))
        }

    def _compute_accuracies(
        self, model_scores: Sequence[RowScores], rows: Positions
    ) -> tuple[Floats | None, Floats | None]:
        """Return two times (rows,) shares of the models that predict a row's gold choice.

        The first is by likelihood, None without choices; the second by likelihood per character,
        None without choices per row.
        """
        if not self.has_choices:
            return None, None
        accuracy, accuracy_norm = (
            np.mean([p[rows] == self.gold[rows] for p in predicted if p is not None], axis=0)
            for predicted in (
                [s.predicted for s in model_scores],
                [s.predicted_norm for s in model_scores],
            )
        )
        return accuracy, accuracy_norm if self.has_own_choices else None

    def _draw_weights(self, num_rows: int, *seed_purposes: str) -> Floats:
        """Draw the same resamples for every model, so that differences are paired."""
        seed = derive_seed(self.settings["seed"], "bootstrap", *seed_purposes)
        return metrics.draw_bootstrap_weights(num_rows, self.settings["bootstrap"], seed)


def _compute_losses(weights: Floats, model_scores: Sequence[RowScores], rows: Positions) -> Floats:
    """Return (models, 1 + B) losses in nats per token."""
    return np.array(
        [metrics.weighted_mean(weights, s.nll[rows], s.tokens[rows]) for s in model_scores]
    )
