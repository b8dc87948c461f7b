"""What a client keeps between its rounds, as named tensors, one safetensors file a round.

A client cannot know whether the server took what it sent: the run may be stopped before, or the
answer come too late. So the server says which of the client's rounds was the last that counted,
and what came after it leaves no trace.
"""

import hashlib
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open

from blossomtune.errors import UserError
from blossomtune.files import write_atomically
from blossomtune.named_tensors import StateDict, clone_contiguous

DIGEST_KEY = "sha256"
"""The entry of a file's metadata that tells whether its tensors are whole."""


class ClientStateStore:
    """The memory of one client.

    Args:
        folder: a folder that no other client writes to; it is made when something is kept.
        keep: how many of its last checkpoints the server may go back.
    """

    def __init__(self, folder: Path, keep_last: int = 2) -> None:
        self.folder = folder
        self._keep_last = keep_last
        self._last_accepted_round: int | None = None

    def load(self, round_number: int) -> StateDict:
        """What the client kept after a round; nothing after round 0.

        Args:
            round_: the client's last round that counted; the next ``save`` goes on from it.

        Raises:
            UserError: where the file of that round is missing or damaged.
        """
        self._last_accepted_round = round_number
        if not round_number:
            return {}
        file = self._get_path(round_number)
        try:
            with safe_open(file, "pt") as opened:
                state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
                said = (opened.metadata() or {}).get(DIGEST_KEY)
        except FileNotFoundError as error:
            raise _build_load_error(file, "missing") from error
        except (OSError, SafetensorError) as error:
            raise _build_load_error(file, "damaged") from error
        if said != _compute_digest(state):
            raise _build_load_error(file, "damaged")
        return state

    def save(self, round_number: int, state: StateDict) -> None:
        """Keeps a round, whole or not at all, and forgets what nobody can ask for any more.

        Without a ``load`` before, nothing is forgotten.
        """
        tensors = clone_contiguous(state)
        with write_atomically(self._get_path(round_number)) as partial:
            safetensors.torch.save_file(
                tensors, partial, metadata={DIGEST_KEY: _compute_digest(tensors)}
            )
        if self._last_accepted_round is None:
            return
        files = {int(f.stem[-5:]): f for f in self.folder.glob("round-?????.safetensors")}
        # Rounds that did not count were forgotten by the save after them, so the others did.
        counted = [number for number in files if number <= self._last_accepted_round]
        oldest = max(
            (number for number in counted if number <= round_number - self._keep_last), default=0
        )
        # What is later is another process's, that answers sooner than this one.
        earlier = {number for number in files if number < round_number}
        for number in earlier - {n for n in counted if n >= oldest}:
            files[number].unlink()

    def _get_path(self, round_number: int) -> Path:
        return self.folder / f"round-{round_number:05}.safetensors"


def _compute_digest(state: StateDict) -> str:
    return hashlib.sha256(safetensors.torch.save(state)).hexdigest()


def _build_load_error(file: Path, problem: str) -> UserError:
    return UserError(
        f"what a client kept after its round {int(file.stem[-5:])} is {problem}: {file}",
        "remove the experiment's folder of checkpoints; the federation then starts over",
    )
