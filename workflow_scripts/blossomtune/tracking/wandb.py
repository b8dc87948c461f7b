"""Log rounds to Weights & Biases, offline unless WANDB_MODE says otherwise."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from blossomtune.tracking.tracker import PROJECT


class WandbTracker:
    """One folder per run, for ``wandb sync``, or a run on the server.

    Args:
        folder: Folder of the runs' folders; it is named wandb.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_offline = os.environ.setdefault("WANDB_MODE", "offline") == "offline"
        os.environ.setdefault("WANDB_PROJECT", PROJECT)
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        if self._is_offline:
            for variable in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
                os.environ.setdefault(variable, str(folder / "files"))

    def start(self, name: str) -> int:
        """Start a run without metadata of this machine.

        Offline, wandb cannot continue a run, so the folder of the same run is written anew. Online,
        the server knows the next step.
        """
        import wandb

        if self._is_offline:
            for folder in self._folder.glob(f"offline-run-*-{name}"):
                shutil.rmtree(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            silent=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        self._run = wandb.init(
            id=name,
            name=name,
            dir=str(self._folder.parent),
            resume=None if self._is_offline else "allow",
            settings=settings,
        )
        return self._run.step

    def log(self, round_number: int, metrics: Mapping[str, float]) -> None:
        """Log a round.

        Args:
            round_number: Number of the round.
            metrics: Values by name.
        """
        self._run.log(dict(metrics), step=round_number, commit=True)  # at once

    def finish(self) -> None:
        """Wait for wandb's process, which writes or sends the run, and end it."""
        import wandb

        self._run.finish()
        wandb.teardown()
