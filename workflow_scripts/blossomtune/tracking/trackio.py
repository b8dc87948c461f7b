"""Log rounds to trackio's local database."""

import os
from collections.abc import Mapping
from pathlib import Path

from blossomtune.tracking.tracker import PROJECT


class TrackioTracker:
    """A run in trackio's database.

    Args:
        folder: Folder of the database, unless the environment has TRACKIO_DIR.
    """

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(folder))

    def start(self, name: str) -> int:
        """Start or continue a run; a round is one row of the database, so none is half there."""
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        self._run = trackio.init(
            PROJECT, name, resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False
        )
        last_round = SQLiteStorage.get_max_step_for_run(PROJECT, name)
        return 0 if last_round is None else last_round + 1

    def log(self, round_number: int, metrics: Mapping[str, float]) -> None:
        """Log a round.

        Args:
            round_number: Number of the round.
            metrics: Values by name.
        """
        self._run.log(dict(metrics), step=round_number)

    def finish(self) -> None:
        """Wait for trackio's thread, which writes to the database."""
        self._run.finish()
