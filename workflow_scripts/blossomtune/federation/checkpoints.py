"""Round checkpoints: what a federation needs to go on after its last whole round.

Who trains on what in a round follows from the seed and the round's number alone (see ``plan``), so
the global adapter, what the server's strategy carries on and the history so far are all there is to
keep. (What clients carry on is in ``memory``.)
"""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch

from blossomtune.errors import UserError
from blossomtune.federation.adapter import State
from blossomtune.federation.memory import apart
from blossomtune.files import atomic, digest, read_json, sha256, write_json

ADAPTER, SERVER = "adapter.safetensors", "server.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A federation after a whole round.

    Attributes:
        round: the round's number; 0 before the first.
        state: the global adapter.
        history: the records of all rounds so far, round 0 included.
        server: what the server needs besides to go on, as tensors by names of its own.
    """

    round: int
    state: State
    history: list[dict[str, Any]]
    server: State = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one experiment, a folder for each way to train it.

    Args:
        root: the experiment's folder of checkpoints.
        identity: everything that a round's result depends on, as plain JSON values.
        keep: how many of the last rounds stay; a damaged one then costs a round and not the run.

    Raises:
        UserError: where the folder of this identity says that it belongs to another.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any], keep: int = 2) -> None:
        self.folder = root / digest(identity)[:16]
        self._identity = identity
        self._keep = keep
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

    def save(self, checkpoint: Checkpoint, best: bool = False) -> None:
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
        if best:  # first, so that there is no round without the best one up to it
            self._write("best", checkpoint)
        self._write("round", checkpoint)
        rounds, bests = self._folders("round"), self._folders("best")
        stay = [number for number in rounds if number <= checkpoint.round][-self._keep :]
        known = [number for number in bests if number < checkpoint.round + best]
        referred = {max((b for b in known if b <= number), default=None) for number in stay}
        for number in rounds.keys() - set(stay):
            shutil.rmtree(rounds[number])
        for number in bests.keys() - referred:
            shutil.rmtree(bests[number])

    def latest(self, upto: int) -> Checkpoint | None:
        """The last whole round up to ``upto``, or None; damaged ones are passed over."""
        return self._newest("round", upto)

    def later(self, than: int) -> list[int]:
        """Rounds after one that are kept."""
        return [number for number in self._folders("round") if number > than]

    def best(self, upto: float = math.inf) -> Checkpoint | None:
        """The round up to ``upto`` that was last saved as the best, or None."""
        return self._newest("best", upto)

    def _write(self, kind: str, checkpoint: Checkpoint) -> None:
        with atomic(self.folder / f"{kind}-{checkpoint.round:05}", directory=True) as partial:
            safetensors.torch.save_file(apart(checkpoint.state), partial / ADAPTER)
            safetensors.torch.save_file(apart(checkpoint.server), partial / SERVER)
            sums = {name: sha256(partial / name) for name in (ADAPTER, SERVER)}
            record = {"round": checkpoint.round, "history": checkpoint.history, "files": sums}
            write_json(partial / "record.json", record)

    def _newest(self, kind: str, upto: float) -> Checkpoint | None:
        for number, folder in reversed(self._folders(kind).items()):
            if number > upto:
                continue
            try:
                record = read_json(folder / "record.json")
                if record["files"] == {name: sha256(folder / name) for name in (ADAPTER, SERVER)}:
                    state = safetensors.torch.load_file(folder / ADAPTER)
                    server = safetensors.torch.load_file(folder / SERVER)
                    return Checkpoint(number, state, record["history"], server)
            except (OSError, ValueError, KeyError):
                pass
            print(f"the checkpoint {folder.name} is damaged, and is passed over", flush=True)
        return None

    def _folders(self, kind: str) -> dict[int, Path]:
        """The folders of a kind by number, in order."""
        return {int(f.name[-5:]): f for f in sorted(self.folder.glob(f"{kind}-?????"))}


PACKAGES = ("accelerate", "bitsandbytes", "flwr", "numpy", "peft", "torch", "transformers", "trl")
"""Those that decide what a training step makes."""


def versions() -> dict[str, str]:
    """The packages' versions."""
    return {name: version(name) for name in PACKAGES}


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
