"""Evaluate several models on the same held-out rows."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from blossomtune.artifacts.answers import AnswerRecord
from blossomtune.artifacts.metrics import (
    ANSWER_METRIC_LABELS,
    Evaluation,
    LeakFreeMetrics,
    LocalBaselineMetrics,
    ModelMetrics,
)
from blossomtune.evaluation.answer_metrics import AnswerScorer
from blossomtune.evaluation.answer_records import build_answer_records
from blossomtune.evaluation.rows import EvaluationSet
from blossomtune.evaluation.scores import RowScores, score_rows
from blossomtune.evaluation.stored_model import StoredModel
from blossomtune.evaluation.summaries import EvaluatedModel, Summarizer
from blossomtune.terminal_bar import iterate_with_bar

logger = logging.getLogger(__name__)

LOCAL_PREFIX = "local_"
"""Prefix of the names of local baselines; the client's number follows."""

ScalarT = TypeVar("ScalarT", bound=np.generic)


def evaluate_models(
    models: Mapping[str, StoredModel], evaluation_set: EvaluationSet, settings: Mapping[str, Any]
) -> tuple[Evaluation, list[AnswerRecord]]:
    """Score each model on the rows, with one model in memory at a time.

    Args:
        models: Models by name: ``base`` and ``federated``, and optionally ``centralised`` and
            ``local_<i>``.
        evaluation_set: The held-out rows.
        settings: The stage's settings ``choices``, ``metrics``, ``answer``, ``by``,
            ``generation``, ``batch_size``, ``device``, ``gpus``, ``dtype``, ``bootstrap`` and
            ``seed``.

    Returns:
        ``(metrics, answers)``: metrics of each model, and the generated answers by row. In the
        metrics, local baselines count as one model, ``local``. Differences are paired by row, so
        their intervals are narrower than those of the two models suggest.
    """
    common_rows = evaluation_set.rows[: evaluation_set.num_common_rows]
    answer_scorer = AnswerScorer(common_rows, settings)
    evaluated: dict[str, EvaluatedModel] = {}
    scores: dict[str, RowScores] = {}
    local_scores: dict[str, RowScores] = {}
    for name, model in iterate_with_bar(models.items(), "model", len(models)):
        if name.startswith(LOCAL_PREFIX):
            client = evaluation_set.client_names[int(name.removeprefix(LOCAL_PREFIX))]
            model_scores = _score_all_rows(model, evaluation_set, settings, name, client)
        else:
            client = None
            model_scores = _score_all_rows(model, evaluation_set, settings, name)
        answer_scores = answer_scorer.score(
            model_scores.sampled_rows.tolist(), model_scores.answers
        )
        scores[name] = replace(model_scores, answer_scores=answer_scores)
        if client is not None:
            local_scores[client] = scores[name]
        else:
            clients = dict.fromkeys(evaluation_set.rows_by_client, scores[name])
            evaluated[name] = EvaluatedModel([scores[name]], clients)
    if local_scores:
        clients = {c: local_scores[c] for c in evaluation_set.rows_by_client if c in local_scores}
        evaluated["local"] = EvaluatedModel(list(local_scores.values()), clients)

    summarizer = Summarizer(evaluation_set, settings)
    summaries = {name: summarizer.summarize_model(model) for name, model in evaluated.items()}
    for name, summary in summaries.items():
        logger.info("%s: %s", name, format_summary(summary))
    without_leaks = _summarize_without_leaks(evaluated, evaluation_set, settings)
    federated = evaluated.pop("federated")
    local = None
    if local_scores:
        local = LocalBaselineMetrics(
            **dict(summaries["local"]),
            models={c: summarizer.summarize_common_rows([s]) for c, s in local_scores.items()},
        )
    evaluation = Evaluation(
        base=summaries["base"],
        federated=summaries["federated"],
        centralised=summaries.get("centralised"),
        local=local,
        difference={n: summarizer.compute_difference(federated, m) for n, m in evaluated.items()},
        left_out=evaluation_set.num_excluded_rows,
        leaked=len(evaluation_set.leaked_rows),
        without_leaks=without_leaks,
    )
    return evaluation, build_answer_records(scores, evaluation_set)


def _summarize_without_leaks(
    models: Mapping[str, EvaluatedModel], evaluation_set: EvaluationSet, settings: Mapping[str, Any]
) -> LeakFreeMetrics | None:
    """Return the metrics on the common rows without leaks; None if no rows are leaked, or all."""
    rows = np.setdiff1d(np.arange(evaluation_set.num_common_rows), evaluation_set.leaked_rows)
    if not 0 < len(rows) < evaluation_set.num_common_rows:
        return None
    summarizer = Summarizer(evaluation_set, settings, rows)
    federated = models["federated"]
    return LeakFreeMetrics(
        models={n: summarizer.summarize_common_rows(m.model_scores) for n, m in models.items()},
        difference={
            name: summarizer.compute_difference(federated, model)
            for name, model in models.items()
            if name != "federated"
        },
    )


def format_summary(summary: ModelMetrics) -> str:
    """Return a model's main metrics as text for a log."""
    parts = [f"{summary.rows} rows", f"loss {summary.loss.value:.3f}"]
    if summary.accuracy:
        parts.append(f"accuracy {summary.accuracy.value:.1%}")
    if summary.accuracy_norm:
        parts.append(f"accuracy by likelihood per character {summary.accuracy_norm.value:.1%}")
    for name, metric in (summary.answer_metrics or {}).items():
        parts.append(f"{ANSWER_METRIC_LABELS[name]} {metric.value:.1%}")
    return ", ".join(parts)


def _score_all_rows(
    model: StoredModel,
    evaluation_set: EvaluationSet,
    settings: Mapping[str, Any],
    name: str,
    client: str | None = None,
) -> RowScores:
    """Return a model's scores of all rows; a local baseline skips other clients' own rows."""
    num_rows, num_common = len(evaluation_set.rows), evaluation_set.num_common_rows
    positions = np.arange(num_rows)
    if client is not None:
        own = np.array(evaluation_set.rows_by_client.get(client, ()), dtype=int)
        positions = np.union1d(np.arange(num_common), own)
    rows = [evaluation_set.rows[int(i)] for i in positions]
    template = evaluation_set.chat_template
    scores = score_rows(model, rows, settings, name, num_common, template)

    def scatter(values: NDArray[ScalarT]) -> NDArray[ScalarT]:
        """Return (num_rows,) values, 0 for rows that were skipped."""
        scattered = np.zeros(num_rows, values.dtype)
        scattered[positions] = values
        return scattered

    return replace(
        scores,
        nll=scatter(scores.nll),
        tokens=scatter(scores.tokens),
        predicted=None if scores.predicted is None else scatter(scores.predicted),
        predicted_norm=None if scores.predicted_norm is None else scatter(scores.predicted_norm),
    )
