"""Log rounds to TensorBoard's event files."""

from collections.abc import Mapping
from pathlib import Path


class TensorboardTracker:
    """One folder of event files per run.

    Args:
        folder: Folder of all runs, for ``tensorboard --logdir``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, name: str) -> int:
        """Start the run's file anew: a killed process may have written half a round."""
        from torch.utils.tensorboard import SummaryWriter

        folder = self._folder / name
        for file in folder.glob("events.out.tfevents.*"):
            file.unlink()
        # purge_step: a TensorBoard that has read the earlier file forgets its values
        self._writer = SummaryWriter(str(folder), purge_step=0)
        return 0

    def log(self, round_number: int, metrics: Mapping[str, float]) -> None:
        """Log a round in 64 bits; TensorBoard's default is 32.

        Args:
            round_number: Number of the round.
            metrics: Values by name.
        """
        for name, value in metrics.items():
            self._writer.add_scalar(
                name, value, round_number, new_style=True, double_precision=True
            )
        self._writer.flush()

    def finish(self) -> None:
        """Close the file."""
        self._writer.close()
