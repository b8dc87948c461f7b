"""Log the rounds of an experiment to its trackers, each round once."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from blossomtune.artifacts.files import read_artifact, write_artifact
from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.artifacts.tracked_run import TrackedRun
from blossomtune.files import compute_json_sha256
from blossomtune.tracking.metrics import compute_metrics
from blossomtune.tracking.mlflow import MlflowTracker
from blossomtune.tracking.tensorboard import TensorboardTracker
from blossomtune.tracking.tracker import Tracker
from blossomtune.tracking.trackio import TrackioTracker
from blossomtune.tracking.wandb import WandbTracker

logger = logging.getLogger(__name__)

TRACKERS: dict[str, Callable[[Path], Tracker]] = {
    "trackio": TrackioTracker,
    "tensorboard": TensorboardTracker,
    "wandb": WandbTracker,
    "mlflow": MlflowTracker,
}
"""Class by name; each takes the folder of its store."""


class RoundTracking:
    """The run of an experiment in one or more trackers.

    A later process continues the run if its rounds are those that were logged, and more. Otherwise
    the experiment was trained again, and it gets a new run.

    Args:
        names: Names of the trackers.
        folder: Folder of all trackers' stores.
        experiment: Name of the experiment.

    Attributes:
        failed: Names of the trackers that raised an error; nothing more is logged to them.
    """

    def __init__(self, names: Sequence[str], folder: Path, experiment: str) -> None:
        self._names, self._folder, self._experiment = names, folder, experiment
        self._run_file = folder / "runs" / f"{experiment}.json"
        self._trackers: dict[str, Tracker] = {}
        self._next_rounds: dict[str, int] = {}
        self.failed: set[str] = set()

    def log(self, rounds: Sequence[RoundRecord]) -> None:
        """Log the rounds that a tracker lacks. An error of one tracker does not stop the others.

        Args:
            rounds: All rounds so far.
        """
        if len(rounds) < 2:  # round 0 is the same in each training, and would name one run for all
            return
        run = self._name_run(rounds)
        for name in self._names:
            if name in self.failed:
                continue
            try:
                self._log_to(name, run, rounds)
            except Exception:
                logger.exception("%s failed", name)
                self.failed.add(name)

    def finish(self) -> None:
        """End the run in each tracker."""
        for name, tracker in self._trackers.items():
            try:
                tracker.finish()
            except Exception:
                logger.exception("%s failed", name)
                self.failed.add(name)

    def _log_to(self, name: str, run: str, rounds: Sequence[RoundRecord]) -> None:
        if name not in self._trackers:
            tracker = TRACKERS[name](self._folder / name)
            self._next_rounds[name] = tracker.start(run)
            self._trackers[name] = tracker
        for record in rounds[self._next_rounds[name] :]:
            self._trackers[name].log(record.round, compute_metrics(record))
            self._next_rounds[name] = record.round + 1

    def _name_run(self, rounds: Sequence[RoundRecord]) -> str:
        """Return the name of the run, and write it before a tracker knows any of the rounds."""
        digests = [compute_json_sha256(record.model_dump(mode="json")) for record in rounds]
        name = f"{self._experiment}-{digests[-1][:8]}"
        if self._run_file.exists():
            run = read_artifact(self._run_file, TrackedRun)
            if run.rounds == digests[: len(run.rounds)]:
                name = run.name
        write_artifact(self._run_file, TrackedRun(name=name, rounds=digests))
        return name
