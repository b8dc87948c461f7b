"""What a client keeps between its rounds, as named tensors, one safetensors file a round.

A client cannot know whether the server took what it sent: the run may be stopped before, or the
answer come too late. So the server says which of the client's rounds was the last that counted,
and what came after it leaves no trace.
"""

import hashlib
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from blossomtune.errors import UserError
from blossomtune.federation.adapter import State
from blossomtune.files import atomic

DIGEST = "sha256"
"""The entry of a file's metadata that tells whether its tensors are whole."""


class Memory:
    """The memory of one client.

    Args:
        folder: a folder that no other client writes to; it is made when something is kept.
        keep: how many of its last checkpoints the server may go back.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self._keep = keep
        self._counted: int | None = None

    def load(self, round_: int) -> State:
        """What the client kept after a round; nothing after round 0.

        Args:
            round_: the client's last round that counted; the next ``save`` goes on from it.

        Raises:
            UserError: where the file of that round is missing or damaged.
        """
        self._counted = round_
        if not round_:
            return {}
        file = self._file(round_)
        try:
            with safe_open(file, "pt") as opened:
                state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
                said = (opened.metadata() or {}).get(DIGEST)
        except FileNotFoundError as error:
            raise _lost(file, "missing") from error
        except (OSError, SafetensorError) as error:
            raise _lost(file, "damaged") from error
        if said != _digest(state):
            raise _lost(file, "damaged")
        return state

    def save(self, round_: int, state: State) -> None:
        """Keeps a round, whole or not at all, and forgets what nobody can ask for any more.

        Without a ``load`` before, nothing is forgotten.
        """
        tensors = apart(state)
        with atomic(self._file(round_)) as partial:
            safetensors.torch.save_file(tensors, partial, metadata={DIGEST: _digest(tensors)})
        if self._counted is None:
            return
        files = {int(f.stem[-5:]): f for f in self.folder.glob("round-?????.safetensors")}
        # Rounds that did not count were forgotten by the save after them, so the others did.
        counted = [number for number in files if number <= self._counted]
        oldest = max((number for number in counted if number <= round_ - self._keep), default=0)
        # What is later is another process's, that answers sooner than this one.
        earlier = {number for number in files if number < round_}
        for number in earlier - {n for n in counted if n >= oldest}:
            files[number].unlink()

    def _file(self, round_: int) -> Path:
        return self.folder / f"round-{round_:05}.safetensors"


def apart(state: State) -> State:
    """Copies that lie each by itself in order, as safetensors wants them."""
    return {n: t.clone(memory_format=torch.contiguous_format) for n, t in state.items()}


def _digest(state: State) -> str:
    return hashlib.sha256(safetensors.torch.save(state)).hexdigest()


def _lost(file: Path, how: str) -> UserError:
    return UserError(
        f"what a client kept after its round {int(file.stem[-5:])} is {how}: {file}",
        "remove the experiment's folder of checkpoints; the federation then starts over",
    )
