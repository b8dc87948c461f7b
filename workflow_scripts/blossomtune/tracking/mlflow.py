"""Log rounds to MLflow, to a local SQLite database unless MLFLOW_TRACKING_URI says otherwise."""

import os
from collections.abc import Mapping
from pathlib import Path

from blossomtune.tracking.tracker import PROJECT

MAX_BATCH = 1000
"""Metrics that MLflow takes at once."""


class MlflowTracker:
    """A run in MLflow's database or on its server.

    Args:
        folder: Folder of the database.
    """

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._folder = folder

    def start(self, name: str) -> int:
        """Start or continue a run. The client, unlike ``mlflow.start_run``, adds no tags."""
        from mlflow import MlflowClient

        self._folder.mkdir(parents=True, exist_ok=True)
        database = f"sqlite:///{(self._folder / 'mlflow.db').resolve()}"
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or database)
        experiment = self._client.get_experiment_by_name(PROJECT)
        number = experiment.experiment_id if experiment else self._create_experiment()
        runs = self._client.search_runs([number], f"attributes.run_name = '{name}'")
        self._run = runs[0] if runs else self._client.create_run(number, run_name=name)
        self._client.update_run(self._run.info.run_id, status="RUNNING")
        rounds = self._client.get_metric_history(self._run.info.run_id, "round")
        return max((metric.step + 1 for metric in rounds), default=0)

    def log(self, round_number: int, metrics: Mapping[str, float]) -> None:
        """Log a round.

        A round that a killed process logged in part is logged again. MLflow keeps one of equal
        metrics, and so the time has to be the same.

        Args:
            round_number: Number of the round.
            metrics: Values by name.
        """
        from mlflow.entities import Metric

        time = self._run.info.start_time + round_number
        entities = [Metric(name, value, time, round_number) for name, value in metrics.items()]
        for start in range(0, len(entities), MAX_BATCH):
            batch = entities[start : start + MAX_BATCH]
            self._client.log_batch(self._run.info.run_id, batch)

    def finish(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._run.info.run_id)

    def _create_experiment(self) -> str:
        """Create MLflow's experiment; another experiment of the same run may be faster."""
        from mlflow import MlflowException

        try:
            return self._client.create_experiment(PROJECT)
        except MlflowException:
            if found := self._client.get_experiment_by_name(PROJECT):
                return found.experiment_id
            raise
