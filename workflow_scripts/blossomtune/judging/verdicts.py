"""Combine the verdicts of a judge model to wins, losses and ties."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from blossomtune.artifacts.judge import JudgedPair
from blossomtune.evaluation.metrics import compute_interval, draw_bootstrap_weights, weighted_mean
from blossomtune.seeds import derive_seed

Verdict = Literal["A", "B", "tie"]


class VerdictPair(NamedTuple):
    """Verdicts on one row.

    Attributes:
        first: verdict with the federated model's answer as A; None if it is unreadable.
        second: verdict with the federated model's answer as B; None if it is unreadable.
    """

    first: Verdict | None
    second: Verdict | None

    @property
    def is_unreadable(self) -> bool:
        """Return whether a verdict is none of the allowed ones."""
        return None in self

    @property
    def is_inconsistent(self) -> bool:
        """Return whether the verdict changes with the order of the answers."""
        return not self.is_unreadable and self not in _SCORES

    @property
    def score(self) -> float:
        """Return 1 for a win of the federated model, 0 for a loss, and one half for a tie."""
        return _SCORES.get(self, 0.5)


_SCORES = {VerdictPair("A", "B"): 1.0, VerdictPair("B", "A"): 0.0, VerdictPair("tie", "tie"): 0.5}
"""Scores of the verdicts that agree in both orders."""


def summarize_verdicts(verdicts: Sequence[VerdictPair], settings: Mapping[str, Any]) -> JudgedPair:
    """Count wins, losses and ties, and compute the win rate with its bootstrap interval.

    Args:
        verdicts: Verdicts on each row, at least one.
        settings: ``bootstrap``, number of resamples of the rows, and ``seed``.

    Returns:
        Counts of rows, and the mean score.
    """
    scores = np.array([pair.score for pair in verdicts])
    seed = derive_seed(settings["seed"], "judge")
    weights = draw_bootstrap_weights(len(scores), settings["bootstrap"], seed)
    wins, losses = int((scores == 1).sum()), int((scores == 0).sum())
    return JudgedPair(
        rows=len(verdicts),
        wins=wins,
        losses=losses,
        ties=len(verdicts) - wins - losses,
        inconsistent=sum(pair.is_inconsistent for pair in verdicts),
        unreadable=sum(pair.is_unreadable for pair in verdicts),
        win_rate=compute_interval(weighted_mean(weights, scores)),
    )
