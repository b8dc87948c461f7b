"""Several models on the same held-out rows."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from blossomtune.evaluation.rows import EvaluationSet
from blossomtune.evaluation.scores import RowScores, score_rows
from blossomtune.evaluation.stored_model import StoredModel
from blossomtune.evaluation.summaries import EvaluatedModel, Summarizer

LOCAL_PREFIX = "local_"
"""How models are called that a client trained alone; the client's number follows."""


def evaluate_models(
    models: Mapping[str, StoredModel], evaluation_set: EvaluationSet, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Scores each model on the rows, one in memory at a time.

    Args:
        models: by name; ``base`` and ``federated`` are among them, and there may be
            ``centralised`` and ``local_<i>``.
        held: the held-out rows.
        settings: the configuration of the stage: ``choices``, ``by``, ``generation``,
            ``batch_size``, ``bootstrap`` and ``seed``.

    Returns:
        What metrics.json holds: a summary by contender, all clients' own models being one,
        ``local``; how many test rows were ``left_out``; and under ``difference`` the federated
        model's metrics minus those of each other contender. All answer the same rows, so a
        difference is taken row by row and its interval is narrower than those of the two suggest.
    """
    contenders: dict[str, EvaluatedModel] = {}
    alone: dict[str, RowScores] = {}
    for name, model in models.items():
        client = (
            evaluation_set.client_names[int(name.removeprefix(LOCAL_PREFIX))]
            if name.startswith(LOCAL_PREFIX)
            else None
        )
        scores = _score_evaluation_set(model, evaluation_set, settings, name, client)
        if client is None:
            contenders[name] = EvaluatedModel(
                [scores], dict.fromkeys(evaluation_set.rows_by_client, scores)
            )
        else:
            alone[client] = scores
    if alone:
        asked = {name: alone[name] for name in evaluation_set.rows_by_client if name in alone}
        contenders["local"] = EvaluatedModel(list(alone.values()), asked)

    summaries = Summarizer(evaluation_set, settings)
    found = {name: summaries.summarize_model(each) for name, each in contenders.items()}
    if alone:
        each = {
            client: summaries.summarize_common_rows([scores]) for client, scores in alone.items()
        }
        found["local"]["models"] = each
    for name, summary in found.items():
        print(f"{name}: {_format_summary(summary)}", file=sys.stderr, flush=True)
    federated = contenders.pop("federated")
    difference = {
        name: summaries.compute_difference(federated, c) for name, c in contenders.items()
    }
    return {**found, "difference": difference, "left_out": evaluation_set.num_excluded_rows}


def _score_evaluation_set(
    model: StoredModel,
    evaluation_set: EvaluationSet,
    settings: Mapping[str, Any],
    name: str,
    client: str | None,
) -> RowScores:
    """A model's scores of all rows; a client's own model leaves out those of other clients."""
    chosen = np.arange(len(evaluation_set.rows))
    if client is not None:
        mine = np.array(evaluation_set.rows_by_client.get(client, ()), dtype=int)
        chosen = np.union1d(np.arange(evaluation_set.num_common_rows), mine)
    scores = score_rows(
        model,
        [evaluation_set.rows[i] for i in chosen],
        settings,
        name,
        evaluation_set.num_common_rows,
    )

    def back(values: np.ndarray | None) -> np.ndarray | None:
        """Values of the rows that were read, each at its row's position."""
        if values is None:
            return None
        whole = np.zeros(len(evaluation_set.rows), values.dtype)
        whole[chosen] = values
        return whole

    placed = {what: back(getattr(scores, what)) for what in ("nll", "tokens", "predicted")}
    return replace(scores, **placed)


def _format_summary(summary: Mapping[str, Any]) -> str:
    words = [f"{summary['rows']} rows", f"loss {summary['loss']['value']:.3f}"]
    words += [
        f"{name.replace('_', ' ')} {summary[name]['value']:.1%}"
        for name in ("accuracy", "exact_match")
        if summary[name]
    ]
    return ", ".join(words)
