"""audit.jsonl: events of a federation's server, one JSON object per line, chained by hashes."""

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime, ValidationError

from blossomtune.artifacts.audit_events import AuditEvent, ResultWritten, RoundCompleted
from blossomtune.artifacts.base import Artifact
from blossomtune.artifacts.files import missing_file_error
from blossomtune.errors import UserError
from blossomtune.files import to_canonical_json
from blossomtune.full_disk import build_full_disk_error, is_disk_full

if TYPE_CHECKING:
    from numpy.typing import NDArray

AUDIT_LOG_FILE = "audit.jsonl"
"""Name of the file, in the experiment's folder of checkpoints."""

_START = "0" * 64
"""Takes the place of the first entry's predecessor."""


class AuditEntry(Artifact):
    """A line of the log.

    Attributes:
        time: when the entry was written.
        event: what happened.
        sha256: SHA-256 of the previous entry's ``sha256`` followed by this entry's canonical JSON
            without this key.
    """

    time: AwareDatetime
    event: AuditEvent
    sha256: str


class AuditLog:
    """Log that entries are appended to.

    Args:
        path: The file. A line that a killed server has not finished is removed.

    Raises:
        UserError: If an entry has been changed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_sha256 = _START
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        if entries := read_audit_log(path):
            self._last_sha256 = entries[-1].sha256

    def append(self, event: AuditEvent) -> None:
        """Write an entry; the end of a round and of the run is on the disk afterwards.

        Args:
            event: What happened.

        Raises:
            UserError: If the disk is full. What has been written of the line is removed later.
        """
        entry = AuditEntry(time=datetime.now(UTC), event=event, sha256="")
        line, sha256 = _encode_entry(entry, self._last_sha256)
        try:
            with self._path.open("ab") as file:
                file.write(line)
                file.flush()
                if isinstance(event, RoundCompleted | ResultWritten):
                    os.fsync(file.fileno())
        except OSError as error:
            if is_disk_full(error):
                raise build_full_disk_error(self._path, self._path) from error
            raise
        self._last_sha256 = sha256


def read_audit_log(path: Path) -> list[AuditEntry]:
    """Read a log and check its chain.

    Args:
        path: The file.

    Returns:
        The entries.

    Raises:
        UserError: If the file is missing, or a line was changed, removed, inserted or moved.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise missing_file_error(path) from None
    entries = list[AuditEntry]()
    previous = _START
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        try:
            entry = AuditEntry.model_validate_json(line)
        except ValidationError as error:
            raise _changed_log_error(path, number, error.errors()[0]["msg"]) from None
        expected, previous = _encode_entry(entry, previous)
        if line != expected:
            raise _changed_log_error(path, number, "its sha256 is wrong")
        entries.append(entry)
    return entries


def _encode_entry(entry: AuditEntry, previous: str) -> tuple[bytes, str]:
    """Return the line of an entry, and its SHA-256.

    Args:
        entry: The entry; its own ``sha256`` is not used.
        previous: SHA-256 of the entry before.

    Returns:
        Bytes of the line with its end, and 64 hexadecimal digits.
    """
    content = entry.model_dump(mode="json", exclude={"sha256"})
    sha256 = hashlib.sha256((previous + to_canonical_json(content)).encode()).hexdigest()
    return f"{to_canonical_json(content | {'sha256': sha256})}\n".encode(), sha256


def compute_tensors_sha256(tensors: Mapping[str, "NDArray[Any]"]) -> str:
    """Return the SHA-256 of names, types, shapes and values of tensors, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(to_canonical_json([name, tensor.dtype.str, list(tensor.shape)]).encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def _changed_log_error(path: Path, number: int, reason: str) -> UserError:
    return UserError(
        f"{path}: line {number} or the line before it has been changed, removed or moved: {reason}",
        "compare it with a copy; a run starts a new log if this one is moved away",
    )
