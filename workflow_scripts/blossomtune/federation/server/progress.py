"""Tell other processes which rounds are done, and let one of them log the rounds to trackers."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blossomtune.artifacts.files import write_artifact
from blossomtune.artifacts.progress import PROGRESS_FILE, Progress
from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.federation.run import FederatedRun

logger = logging.getLogger(__name__)

TRACK_SCRIPT = Path(__file__).resolve().parents[3] / "track.py"
FINISH_TIMEOUT_SECONDS = 30


def write_progress(
    run: FederatedRun, rounds: list[RoundRecord], seconds_left: float | None = None
) -> None:
    """Write the rounds so far beside the experiment's checkpoints.

    Args:
        run: The federation.
        rounds: Records of the rounds so far.
        seconds_left: Estimated time until the last round.
    """
    progress = Progress(
        clients=[client.name for client in run.spec.clients],
        num_rounds=run.spec.federation.rounds,
        rounds=rounds,
        seconds_left=seconds_left,
    )
    write_artifact(run.paths.checkpoints / PROGRESS_FILE, progress)


@contextmanager
def start_trackers(run: FederatedRun) -> Iterator[None]:
    """Log rounds to the run's trackers as they end, in a process of its own.

    A tracker that fails or hangs does not stop the training: rule track logs what is missing.

    Args:
        run: The federation; its progress has been written.

    Yields:
        None.
    """
    if run.trackers is None:
        yield
        return
    experiment = run.paths.checkpoints.name
    folder = run.trackers.folder
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(TRACK_SCRIPT), "--config", str(run.trackers.config)]
    command += ["--rounds", str(run.paths.checkpoints / PROGRESS_FILE), "--follow"]
    command += ["--folder", str(folder), "--experiment", experiment]
    with (folder / f"{experiment}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        try:
            process.communicate(timeout=FINISH_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        if process.wait():
            logger.warning("rounds may be missing from trackers: see %s", log.name)
