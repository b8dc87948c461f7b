"""Several models on the same held-out rows."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from blossomtune.evaluation.models import Model
from blossomtune.evaluation.rows import HeldOut
from blossomtune.evaluation.scores import Scores, score
from blossomtune.evaluation.summaries import Contender, Summaries

LOCAL = "local_"
"""How models are called that a client trained alone; the client's number follows."""


def evaluate(
    models: Mapping[str, Model], held: HeldOut, settings: Mapping[str, Any]
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
    contenders: dict[str, Contender] = {}
    alone: dict[str, Scores] = {}
    for name, model in models.items():
        client = held.names[int(name.removeprefix(LOCAL))] if name.startswith(LOCAL) else None
        scores = _score(model, held, settings, name, client)
        if client is None:
            contenders[name] = Contender([scores], dict.fromkeys(held.clients, scores))
        else:
            alone[client] = scores
    if alone:
        asked = {name: alone[name] for name in held.clients if name in alone}
        contenders["local"] = Contender(list(alone.values()), asked)

    summaries = Summaries(held, settings)
    found = {name: summaries.of(each) for name, each in contenders.items()}
    if alone:
        each = {client: summaries.alone([scores]) for client, scores in alone.items()}
        found["local"]["models"] = each
    for name, summary in found.items():
        print(f"{name}: {_line(summary)}", file=sys.stderr, flush=True)
    federated = contenders.pop("federated")
    difference = {name: summaries.difference(federated, c) for name, c in contenders.items()}
    return {**found, "difference": difference, "left_out": held.left_out}


def _score(
    model: Model, held: HeldOut, settings: Mapping[str, Any], name: str, client: str | None
) -> Scores:
    """A model's scores of all rows; a client's own model leaves out those of other clients."""
    chosen = np.arange(len(held.rows))
    if client is not None:
        mine = np.array(held.clients.get(client, ()), dtype=int)
        chosen = np.union1d(np.arange(held.common), mine)
    scores = score(model, [held.rows[i] for i in chosen], settings, name, held.common)

    def back(values: np.ndarray | None) -> np.ndarray | None:
        """Values of the rows that were read, each at its row's position."""
        if values is None:
            return None
        whole = np.zeros(len(held.rows), values.dtype)
        whole[chosen] = values
        return whole

    placed = {what: back(getattr(scores, what)) for what in ("nll", "tokens", "predicted")}
    return replace(scores, **placed)


def _line(part: Mapping[str, Any]) -> str:
    words = [f"{part['rows']} rows", f"loss {part['loss']['value']:.3f}"]
    words += [
        f"{name.replace('_', ' ')} {part[name]['value']:.1%}"
        for name in ("accuracy", "exact_match")
        if part[name]
    ]
    return ", ".join(words)
