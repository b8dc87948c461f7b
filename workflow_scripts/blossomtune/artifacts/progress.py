"""progress.json of a federation that runs."""

from blossomtune.artifacts.base import Artifact
from blossomtune.artifacts.round_record import RoundRecord

PROGRESS_FILE = "progress.json"
"""Name of the file, in the experiment's folder of checkpoints."""


class Progress(Artifact):
    """Finished rounds of a federation; the server writes the file anew after each round.

    Attributes:
        clients: names, in order.
        num_rounds: number of rounds of the whole run.
        rounds: records of the rounds so far, round 0 included.
        seconds_left: estimated time until the last round; None before the first one.
    """

    clients: list[str]
    num_rounds: int
    rounds: list[RoundRecord]
    seconds_left: float | None
