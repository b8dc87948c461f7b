"""Name and content of the run that trackers have of an experiment."""

from blossomtune.artifacts.base import Artifact


class TrackedRun(Artifact):
    """The run that later rounds of an experiment are logged to.

    Attributes:
        name: name of the run in each tracker.
        rounds: SHA-256 of each round that was logged or was about to be.
    """

    name: str
    rounds: list[str]
