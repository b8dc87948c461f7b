"""Read rounds from a file that another process writes, until that process is done."""

import select
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.round_record import RoundRecord

POLL_SECONDS = 1.0


class _RoundsFile(BaseModel):
    """Rounds of history.json or progress.json."""

    rounds: list[RoundRecord]


def read_rounds(path: Path) -> list[RoundRecord]:
    """Return the rounds in a history or a progress file."""
    return read_artifact(path, _RoundsFile).rounds


def follow_rounds(path: Path) -> Iterator[list[RoundRecord]]:
    """Yield all rounds so far whenever the file changes, until stdin has a byte or its end.

    Args:
        path: The file.

    Yields:
        Records of the rounds.
    """
    known_time, is_done = None, False
    while not is_done:
        is_done = bool(select.select([sys.stdin], [], [], POLL_SECONDS)[0])
        time = path.stat().st_mtime_ns
        if time != known_time:
            known_time = time
            yield read_rounds(path)
