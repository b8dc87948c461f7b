"""Round checkpoints: what a federation needs to go on after its last whole round.

Who trains on what in a round follows from the seed and the round's number alone (see ``plan``), so
the global adapter and the history so far are all there is to keep.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch

from blossomtune.errors import UserError
from blossomtune.federation.adapter import State
from blossomtune.files import atomic, digest, read_json, sha256, write_json

KEPT = 2
"""The last checkpoints that stay; a damaged one then costs a round and not the run."""


@dataclass(frozen=True)
class Checkpoint:
    """A federation after a whole round.

    Attributes:
        round: the round's number; 0 before the first.
        state: the global adapter.
        history: the records of all rounds so far, round 0 included.
    """

    round: int
    state: State
    history: list[dict[str, Any]]


class Checkpoints:
    """The checkpoints of one experiment, a folder for each way to train it.

    Args:
        root: the experiment's folder of checkpoints.
        identity: everything that a round's result depends on, as plain JSON values.

    Raises:
        UserError: where the folder of this identity says that it belongs to another.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any]) -> None:
        self.folder = root / digest(identity)[:16]
        self._identity = identity
        said = self.folder / "identity.json"
        if said.exists() and (found := differences(read_json(said), identity)):
            raise UserError(
                f"the checkpoints in {self.folder} belong to another federation: {found[0]}",
                "remove that folder",
            )

    def others(self) -> list[str]:
        """In what the newest checkpoints of other identities differ from these; empty if none."""
        said = [f for f in self.folder.parent.glob("*/identity.json") if f.parent != self.folder]
        if not said:
            return []
        newest = max(said, key=lambda file: file.stat().st_mtime_ns)
        return differences(read_json(newest), self._identity)

    def save(self, checkpoint: Checkpoint) -> None:
        """Keeps a round, whole or not at all, and forgets those before the last ``KEPT``."""
        said = self.folder / "identity.json"
        if not said.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(said, self._identity)
        with atomic(self.folder / f"round-{checkpoint.round:05}", directory=True) as partial:
            weights = partial / "adapter.safetensors"
            safetensors.torch.save_file(dict(sorted(checkpoint.state.items())), weights)
            record = {"round": checkpoint.round, "history": checkpoint.history}
            write_json(partial / "record.json", record | {"adapter": sha256(weights)})
        for folder in self._rounds()[:-KEPT]:
            shutil.rmtree(folder)

    def latest(self, upto: int) -> Checkpoint | None:
        """The last whole round up to ``upto``, or None; damaged ones are passed over."""
        for folder in reversed(self._rounds()):
            try:
                record = read_json(folder / "record.json")
                if record["round"] > upto:
                    continue
                weights = folder / "adapter.safetensors"
                if sha256(weights) == record["adapter"]:
                    state = safetensors.torch.load_file(weights)
                    return Checkpoint(record["round"], state, record["history"])
            except (OSError, ValueError, KeyError):
                pass
            print(f"the checkpoint {folder.name} is damaged, and is passed over", flush=True)
        return None

    def _rounds(self) -> list[Path]:
        return sorted(self.folder.glob("round-?????"))


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two JSON values differ: ``key.key: value, now value``, in the order of the keys."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = dict.fromkeys([*other, *one])
        inner = [(k, one.get(k), other.get(k)) for k in keys]
        return [d for k, a, b in inner for d in differences(a, b, f"{path}.{k}" if path else k)]
    return [] if one == other else [f"{path}: {_short(one)}, now {_short(other)}"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
