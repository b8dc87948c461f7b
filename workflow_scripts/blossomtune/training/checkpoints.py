"""Round checkpoints: what a federation needs to go on after its last whole round.

Who trains on what in a round follows from the seed and the round's number alone (see ``plan``), so
the global adapter, what the server's strategy carries on and the history so far are all there is to
keep. (What clients carry on is in ``memory``.)
"""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch

from blossomtune.errors import UserError
from blossomtune.files import (
    compute_file_sha256,
    compute_json_sha256,
    read_json,
    write_atomically,
    write_json,
)
from blossomtune.json_diff import diff_json
from blossomtune.named_tensors import StateDict, clone_contiguous

ADAPTER_FILE, SERVER_STATE_FILE = "adapter.safetensors", "server.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A federation after a whole round.

    Attributes:
        round: the round's number; 0 before the first.
        state: the global adapter.
        history: the records of all rounds so far, round 0 included.
        server: what the server needs besides to go on, as tensors by names of its own.
    """

    round_number: int
    adapter_state: StateDict
    history: list[dict[str, Any]]
    server_state: StateDict = field(default_factory=dict)


class CheckpointStore:
    """The checkpoints of one experiment, a folder for each way to train it.

    Args:
        root: the experiment's folder of checkpoints.
        identity: everything that a round's result depends on, as plain JSON values.
        keep: how many of the last rounds stay; a damaged one then costs a round and not the run.

    Raises:
        UserError: where the folder of this identity says that it belongs to another.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any], save_total_limit: int = 2) -> None:
        self.folder = root / compute_json_sha256(identity)[:16]
        self._identity = identity
        self._save_total_limit = save_total_limit
        said = self.folder / "identity.json"
        if said.exists() and (found := diff_json(read_json(said), identity)):
            raise UserError(
                f"the checkpoints in {self.folder} belong to another federation: {found[0]}",
                "remove that folder",
            )

    def find_identity_changes(self) -> list[str]:
        """In what the newest checkpoints of other identities differ from these; empty if none."""
        said = [f for f in self.folder.parent.glob("*/identity.json") if f.parent != self.folder]
        if not said:
            return []
        newest = max(said, key=lambda file: file.stat().st_mtime_ns)
        return diff_json(read_json(newest), self._identity)

    def save(self, checkpoint: Checkpoint, is_best: bool = False) -> None:
        """Keeps a round, whole or not at all, and forgets those before the last ``keep``.

        Args:
            checkpoint: the round; what lies here of later ones goes, since they will come again.
            best: whether it is the best round so far. That one stays until there is a better one
                and no round that stays is older.
        """
        said = self.folder / "identity.json"
        if not said.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(said, self._identity)
        if is_best:  # first, so that there is no round without the best one up to it
            self._write("best", checkpoint)
        self._write("round", checkpoint)
        rounds, bests = self._list_folders("round"), self._list_folders("best")
        stay = [number for number in rounds if number <= checkpoint.round_number][
            -self._save_total_limit :
        ]
        known = [number for number in bests if number < checkpoint.round_number + is_best]
        referred = {max((b for b in known if b <= number), default=None) for number in stay}
        for number in rounds.keys() - set(stay):
            shutil.rmtree(rounds[number])
        for number in bests.keys() - referred:
            shutil.rmtree(bests[number])

    def load_latest(self, max_round: int) -> Checkpoint | None:
        """The last whole round up to ``upto``, or None; damaged ones are passed over."""
        return self._load_newest("round", max_round)

    def list_rounds_after(self, round_number: int) -> list[int]:
        """Rounds after one that are kept."""
        return [number for number in self._list_folders("round") if number > round_number]

    def load_best(self, max_round: float = math.inf) -> Checkpoint | None:
        """The round up to ``upto`` that was last saved as the best, or None."""
        return self._load_newest("best", max_round)

    def _write(self, kind: str, checkpoint: Checkpoint) -> None:
        with write_atomically(
            self.folder / f"{kind}-{checkpoint.round_number:05}", directory=True
        ) as partial:
            safetensors.torch.save_file(
                clone_contiguous(checkpoint.adapter_state), partial / ADAPTER_FILE
            )
            safetensors.torch.save_file(
                clone_contiguous(checkpoint.server_state), partial / SERVER_STATE_FILE
            )
            sums = {
                name: compute_file_sha256(partial / name)
                for name in (ADAPTER_FILE, SERVER_STATE_FILE)
            }
            record = {
                "round": checkpoint.round_number,
                "history": checkpoint.history,
                "files": sums,
            }
            write_json(partial / "record.json", record)

    def _load_newest(self, kind: str, max_round: float) -> Checkpoint | None:
        for number, folder in reversed(self._list_folders(kind).items()):
            if number > max_round:
                continue
            try:
                record = read_json(folder / "record.json")
                if record["files"] == {
                    name: compute_file_sha256(folder / name)
                    for name in (ADAPTER_FILE, SERVER_STATE_FILE)
                }:
                    state = safetensors.torch.load_file(folder / ADAPTER_FILE)
                    server = safetensors.torch.load_file(folder / SERVER_STATE_FILE)
                    return Checkpoint(number, state, record["history"], server)
            except (OSError, ValueError, KeyError):
                pass
            print(f"the checkpoint {folder.name} is damaged, and is passed over", flush=True)
        return None

    def _list_folders(self, kind: str) -> dict[int, Path]:
        """The folders of a kind by number, in order."""
        return {int(f.name[-5:]): f for f in sorted(self.folder.glob(f"{kind}-?????"))}
