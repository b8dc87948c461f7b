"""Read how far the experiments in a results folder are."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.history import History
from blossomtune.artifacts.progress import PROGRESS_FILE, Progress
from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.errors import UserError


@dataclass
class ClientProgress:
    """One client's part so far.

    Attributes:
        name: its name.
        num_rounds: rounds that it trained in.
        num_failures: rounds that it was sampled for and sent no usable reply.
        train_loss: loss of its last training.
        seconds: time of its last training.
    """

    name: str
    num_rounds: int = 0
    num_failures: int = 0
    train_loss: float | None = None
    seconds: float | None = None


@dataclass
class ExperimentProgress:
    """One experiment so far.

    Attributes:
        name: its name.
        is_finished: whether its adapter and history are written.
        num_rounds: number of rounds of the whole run.
        rounds: records of the rounds so far.
        clients: the clients, in order.
        seconds_left: estimated time until the last round, if there is an estimate.
        seconds_since: time since the last round.
        stop_reason: why it ended before its last round, if it did.
    """

    name: str
    is_finished: bool
    num_rounds: int
    rounds: list[RoundRecord]
    clients: list[ClientProgress] = field(default_factory=list)
    seconds_left: float | None = None
    seconds_since: float = 0.0
    stop_reason: str | None = None

    @property
    def rounds_done(self) -> int:
        """Number of finished rounds."""
        return max((record.round for record in self.rounds), default=0)

    @property
    def losses(self) -> dict[str, list[tuple[int, float]]]:
        """Round and loss, by kind of loss."""
        rounds = self.rounds
        losses = {
            "held-out loss": [(r.round, r.evaluation.loss) for r in rounds if r.evaluation],
            "clients' loss": [
                (r.round, r.client_evaluation.loss)
                for r in rounds
                if r.client_evaluation and r.client_evaluation.loss is not None
            ],
            "train loss": [(r.round, r.train_loss) for r in rounds if r.train_loss is not None],
        }
        return {name: points for name, points in losses.items() if points}


def read_experiments(results: Path) -> list[ExperimentProgress]:
    """Read all experiments that have started, the one with the newest round first.

    Args:
        results: Folder of the results; it may be missing.

    Returns:
        One item per experiment.
    """
    progress_files = results.glob(f"checkpoints/*/{PROGRESS_FILE}")
    names = {path.parent.name for path in progress_files}
    names |= {path.parent.name for path in results.glob("experiments/*/history.json")}
    experiments = [found for name in sorted(names) for found in _read_experiment(results, name)]
    return sorted(experiments, key=lambda experiment: experiment.seconds_since)


def _read_experiment(results: Path, name: str) -> Iterator[ExperimentProgress]:
    """Yield the experiment, or nothing while its files are replaced."""
    history_file = results / "experiments" / name / "history.json"
    progress_file = results / "checkpoints" / name / PROGRESS_FILE
    try:
        if history_file.exists():  # Snakemake removes it when the experiment is trained again
            history = read_artifact(history_file, History)
            experiment = ExperimentProgress(
                name,
                is_finished=True,
                num_rounds=len(history.trained_rounds),
                rounds=history.rounds,
                stop_reason=history.stop_reason,
            )
            clients, file = history.clients, history_file
        else:
            progress = read_artifact(progress_file, Progress)
            experiment = ExperimentProgress(
                name, is_finished=False, num_rounds=progress.num_rounds, rounds=progress.rounds
            )
            clients, file = progress.clients, progress_file
        experiment.seconds_since = max(0.0, time.time() - file.stat().st_mtime)
        if not experiment.is_finished and progress.seconds_left is not None:
            experiment.seconds_left = max(0.0, progress.seconds_left - experiment.seconds_since)
    except (UserError, OSError):
        return
    experiment.clients = _summarize_clients(clients, experiment.rounds)
    yield experiment


def _summarize_clients(names: list[str], rounds: list[RoundRecord]) -> list[ClientProgress]:
    clients = [ClientProgress(name) for name in names]
    for record in rounds:
        for trained in record.clients:
            client = clients[trained.client]
            client.num_rounds += 1
            client.train_loss, client.seconds = trained.train_loss, trained.seconds
        for failure in record.failed:
            clients[failure.client].num_failures += 1
    return clients
