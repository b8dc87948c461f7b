"""Define the interface of a tracker."""

from collections.abc import Mapping
from typing import Protocol

PROJECT = "blossomtune"
"""Name of the trackers' project, or of MLflow's experiment."""


class Tracker(Protocol):
    """A run in the store of one tracker."""

    def start(self, name: str) -> int:
        """Start a run, or continue the one of that name; return the first round that it lacks."""

    def log(self, round_number: int, metrics: Mapping[str, float]) -> None:
        """Log a round.

        Args:
            round_number: Number of the round, the tracker's step.
            metrics: Values by name; ``round`` is the last one.
        """

    def finish(self) -> None:
        """Write what is pending, and end the run."""
