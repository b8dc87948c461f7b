"""Store a client's tensors between its rounds, one safetensors file per round.

A client does not know if the server accepted its reply. Therefore the server states the client's
last accepted round, and the client drops the state of later rounds.
"""

import hashlib
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open

from blossomtune.errors import UserError
from blossomtune.files import write_atomically
from blossomtune.named_tensors import StateDict, clone_contiguous

DIGEST_KEY = "sha256"
"""Metadata entry with the digest of a file's tensors."""


class ClientStateStore:
    """State of one client.

    Args:
        folder: Folder of this client alone; the first ``save`` creates it.
        keep_last: Number of the server's checkpoints that it may resume from.
    """

    def __init__(self, folder: Path, keep_last: int = 2) -> None:
        self.folder = folder
        self._keep_last = keep_last
        self._last_accepted_round: int | None = None

    def load(self, round_number: int) -> StateDict:
        """Return the state after a round; after round 0 it is empty.

        Args:
            round_number: The client's last accepted round, which the next ``save`` follows.

        Returns:
            The client's tensors.

        Raises:
            UserError: If the file of that round is missing or damaged.
        """
        self._last_accepted_round = round_number
        if not round_number:
            return {}
        path = self._get_path(round_number)
        try:
            with safe_open(path, "pt") as file:
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                digest = (file.metadata() or {}).get(DIGEST_KEY)
        except FileNotFoundError as error:
            raise _build_load_error(path, "missing") from error
        except (OSError, SafetensorError) as error:
            raise _build_load_error(path, "damaged") from error
        if digest != _compute_digest(state):
            raise _build_load_error(path, "damaged")
        return state

    def save(self, round_number: int, state: StateDict) -> None:
        """Write the state after a round atomically, and remove files that are not needed any more.

        Without a ``load`` before, nothing is removed.

        Args:
            round_number: Number of the round.
            state: The client's tensors.
        """
        tensors = clone_contiguous(state)
        with write_atomically(self._get_path(round_number)) as partial:
            safetensors.torch.save_file(
                tensors, partial, metadata={DIGEST_KEY: _compute_digest(tensors)}
            )
        if self._last_accepted_round is None:
            return
        files = {int(f.stem[-5:]): f for f in self.folder.glob("round-?????.safetensors")}
        # Each save removed the rounds that were not accepted, so the earlier ones were.
        accepted = [number for number in files if number <= self._last_accepted_round]
        limit = round_number - self._keep_last
        oldest = max((number for number in accepted if number <= limit), default=0)
        # Files of later rounds are from another process, which was faster than this one.
        earlier = {number for number in files if number < round_number}
        for number in earlier - {n for n in accepted if n >= oldest}:
            files[number].unlink()

    def _get_path(self, round_number: int) -> Path:
        return self.folder / f"round-{round_number:05}.safetensors"


def _compute_digest(state: StateDict) -> str:
    return hashlib.sha256(safetensors.torch.save(state)).hexdigest()


def _build_load_error(path: Path, problem: str) -> UserError:
    return UserError(
        f"the state of a client after its round {int(path.stem[-5:])} is {problem}: {path}",
        "remove the experiment's folder of checkpoints; the federation then starts over",
    )
