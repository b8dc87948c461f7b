"""record.json of a checkpoint."""

from typing import Generic, TypeVar

from blossomtune.artifacts.base import Artifact
from blossomtune.artifacts.baseline_history import BaselineRoundRecord
from blossomtune.artifacts.round_record import RoundRecord

RecordT = TypeVar("RecordT", RoundRecord, BaselineRoundRecord)


class CheckpointRecord(Artifact, Generic[RecordT]):
    """Number, history and files of a checkpoint.

    Attributes:
        round: number of the last completed round.
        history: records of all rounds so far.
        files: SHA-256 by file name.
    """

    round: int
    history: list[RecordT]
    files: dict[str, str]
