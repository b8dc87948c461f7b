"""Save and load checkpoints of completed rounds."""

import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import safetensors.torch

from blossomtune.artifacts.checkpoint_record import CheckpointRecord, RecordT
from blossomtune.artifacts.files import write_artifact
from blossomtune.errors import UserError
from blossomtune.files import (
    compute_file_sha256,
    compute_json_sha256,
    read_json,
    write_atomically,
    write_json,
)
from blossomtune.json_diff import diff_json
from blossomtune.named_tensors import StateDict

logger = logging.getLogger(__name__)

ADAPTER_FILE, SERVER_STATE_FILE = "adapter.safetensors", "server.safetensors"
TENSOR_FILES = (ADAPTER_FILE, SERVER_STATE_FILE)


@dataclass(frozen=True)
class Checkpoint(Generic[RecordT]):
    """Training after a completed round.

    The schedule of later rounds follows from the seed, so nothing else is needed to resume.

    Attributes:
        round_number: The last completed round, or 0.
        adapter_state: The global adapter.
        history: Records of all rounds so far, including round 0.
        server_state: Other tensors that the server needs, by its own names.
    """

    round_number: int
    adapter_state: StateDict
    history: list[RecordT]
    server_state: StateDict = field(default_factory=dict)


class CheckpointStore(Generic[RecordT]):
    """Checkpoints of one experiment, with one folder per identity.

    Args:
        root: The experiment's directory of checkpoints.
        identity: Everything that a round's result depends on, as JSON values.
        record_type: Class of the history's records.
        save_total_limit: Number of latest rounds to keep. If one is damaged, an earlier one is
            used.

    Raises:
        UserError: If the identity's folder belongs to another identity.
    """

    def __init__(
        self,
        root: Path,
        identity: Mapping[str, Any],
        record_type: type[RecordT],
        save_total_limit: int = 2,
    ) -> None:
        record_class: Any = CheckpointRecord[record_type]  # type: ignore[valid-type]  # a variable
        self._record_class: type[CheckpointRecord[RecordT]] = record_class
        self.folder = root / compute_json_sha256(identity)[:16]
        self._identity = identity
        self._identity_file = self.folder / "identity.json"
        self._save_total_limit = save_total_limit
        if self._identity_file.exists() and (
            differences := diff_json(read_json(self._identity_file), identity)
        ):
            raise UserError(
                f"the checkpoints in {self.folder} belong to another federation: {differences[0]}",
                "remove that folder",
            )

    def find_identity_changes(self) -> list[str]:
        """Compare this identity with the latest other one in the experiment's directory.

        Returns:
            One line per difference, empty if there is no other identity.
        """
        files = self.folder.parent.glob("*/identity.json")
        others = [file for file in files if file != self._identity_file]
        if not others:
            return []
        latest = max(others, key=lambda file: file.stat().st_mtime_ns)
        return diff_json(read_json(latest), self._identity)

    def save(self, checkpoint: Checkpoint[RecordT], is_best: bool = False) -> None:
        """Save a round atomically and delete rounds that are no longer needed.

        Deleted are rounds before the latest ``save_total_limit``, rounds after this one, since they
        will be trained again, and best rounds that no remaining round refers to.

        Args:
            checkpoint: Training after the round.
            is_best: Whether the round is the best one so far.
        """
        if not self._identity_file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self._identity_file, self._identity)
        if is_best:  # first, so that each saved round has its best round
            self._write("best", checkpoint)
        self._write("round", checkpoint)
        rounds, bests = self._list_folders("round"), self._list_folders("best")
        earlier = [number for number in rounds if number <= checkpoint.round_number]
        remaining = earlier[-self._save_total_limit :]
        valid_bests = [number for number in bests if number < checkpoint.round_number + is_best]
        referenced = {max((b for b in valid_bests if b <= n), default=None) for n in remaining}
        for number in rounds.keys() - set(remaining):
            shutil.rmtree(rounds[number])
        for number in bests.keys() - referenced:
            shutil.rmtree(bests[number])

    def load_latest(self, max_round: int) -> Checkpoint[RecordT] | None:
        """Load the latest undamaged round up to ``max_round``, or return None."""
        return self._load_newest("round", max_round)

    def list_rounds_after(self, round_number: int) -> list[int]:
        """Return the saved rounds after a round."""
        return [number for number in self._list_folders("round") if number > round_number]

    def load_best(self, max_round: float = math.inf) -> Checkpoint[RecordT] | None:
        """Load the latest best round up to ``max_round``, or return None."""
        return self._load_newest("best", max_round)

    def _write(self, kind: str, checkpoint: Checkpoint[RecordT]) -> None:
        folder = self.folder / f"{kind}-{checkpoint.round_number:05}"
        states = (checkpoint.adapter_state, checkpoint.server_state)
        num_bytes = sum(tensor.nbytes for state in states for tensor in state.values())
        with write_atomically(folder, directory=True, num_bytes=num_bytes) as partial:
            for name, state in zip(TENSOR_FILES, states, strict=True):
                tensors = {n: tensor.contiguous() for n, tensor in state.items()}
                safetensors.torch.save_file(tensors, partial / name)
            record = self._record_class(
                round=checkpoint.round_number,
                history=checkpoint.history,
                files=_compute_digests(partial),
            )
            write_artifact(partial / "record.json", record)

    def _load_newest(self, kind: str, max_round: float) -> Checkpoint[RecordT] | None:
        for number, folder in reversed(self._list_folders(kind).items()):
            if number > max_round:
                continue
            try:
                record = self._record_class.model_validate(read_json(folder / "record.json"))
                if record.files == _compute_digests(folder):
                    state = safetensors.torch.load_file(folder / ADAPTER_FILE)
                    server_state = safetensors.torch.load_file(folder / SERVER_STATE_FILE)
                    return Checkpoint(number, state, record.history, server_state)
            except (OSError, ValueError):
                pass
            logger.warning("the checkpoint %s is damaged and is skipped", folder.name)
        return None

    def _list_folders(self, kind: str) -> dict[int, Path]:
        """Return the folders of a kind by round, in ascending order."""
        return {int(f.name[-5:]): f for f in sorted(self.folder.glob(f"{kind}-?????"))}


def _compute_digests(folder: Path) -> dict[str, str]:
    return {name: compute_file_sha256(folder / name) for name in TENSOR_FILES}
