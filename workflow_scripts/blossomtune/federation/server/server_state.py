"""State of the server between rounds: the global adapter and what the next round depends on."""

from collections.abc import Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from blossomtune.aggregation.registry import select_trainable_factor
from blossomtune.aggregation.types import Factors
from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.federation.messages import codec
from blossomtune.federation.messages.base_deltas import (
    BaseDeltas,
    flatten_base_deltas,
    unflatten_base_deltas,
)
from blossomtune.federation.messages.requests import encode_base_deltas
from blossomtune.federation.server.strategies import ServerStrategy
from blossomtune.federation.server.tensor_spool import TensorSpool
from blossomtune.federation.spec import FederationSpec
from blossomtune.named_tensors import StateDict, add_prefix, strip_prefix
from blossomtune.training.adapter import select_factor

if TYPE_CHECKING:
    from blossomtune.training.checkpoints import Checkpoint


class ServerState:
    """State of the server after a checkpoint.

    Args:
        spec: What is trained.
        checkpoint: The checkpoint.
        spool_dir: Folder on the disk for updates of the base weights; None for the system's
            temporary folder.

    Attributes:
        adapter: Global adapter at the server's rank, float32.
        strategy: The strategy with its momentum.
        residual: Rounding error of the last adapter that was sent.
        base_deltas: All updates of the base weights so far.
        control_variate: SCAFFOLD's c, if that is the strategy.
        last_participation: Last round with an accepted reply, by client.
    """

    def __init__(
        self,
        spec: FederationSpec,
        checkpoint: "Checkpoint[RoundRecord]",
        spool_dir: Path | None = None,
    ) -> None:
        self._spool_dir = spool_dir
        self._precision = spec.federation.communication.precision
        tensors, history = checkpoint.server_state, checkpoint.history
        self._aggregation = spec.federation.aggregation
        self.adapter = checkpoint.adapter_state
        self.strategy = ServerStrategy(
            spec.federation, spec.seed, strip_prefix("strategy", tensors)
        )
        self.residual = strip_prefix("residual", tensors)
        self.base_deltas: BaseDeltas = unflatten_base_deltas(strip_prefix("base_deltas", tensors))
        self.control_variate: StateDict | None = None
        if spec.federation.strategy.name == "scaffold":
            trainable = self.select_trainable(1)
            zeros = {name: torch.zeros_like(value) for name, value in trainable.items()}
            self.control_variate = strip_prefix("control", tensors) or zeros
        accepted = [record for record in history if record.rejection is None]
        self.last_participation = {c.client: r.round for r in accepted for c in r.clients}

    def copy(self) -> "ServerState":
        """Return a state that later rounds of this one do not change; tensors are shared."""
        other = copy(self)
        other.strategy = self.strategy.copy()
        other.base_deltas = dict(self.base_deltas)
        other.last_participation = dict(self.last_participation)
        return other

    def state_dict(self) -> StateDict:
        """Return the tensors of a checkpoint besides the adapter."""
        return {
            **add_prefix("strategy", self.strategy.state_dict()),
            **add_prefix("residual", self.residual),
            **add_prefix("control", self.control_variate or {}),
            **add_prefix("base_deltas", flatten_base_deltas(self.base_deltas)),
        }

    def add_base_deltas(self, round_number: int, base_deltas: Mapping[str, Factors]) -> None:
        """Add updates of the base weights, as clients receive them, which may be rounded.

        They are as large as all replies of the round together, and therefore stay on the disk.

        Args:
            round_number: Number of the round.
            base_deltas: The updates, by layer.
        """
        with TensorSpool(self._spool_dir) as spool:
            tensors = spool.write(self._iter_rounded(round_number, base_deltas)).map()
        self.base_deltas |= unflatten_base_deltas(tensors)

    def _iter_rounded(
        self, round_number: int, base_deltas: Mapping[str, Factors]
    ) -> Iterator[tuple[str, Tensor]]:
        for layer, factors in base_deltas.items():
            record = encode_base_deltas({round_number: {layer: factors}}, self._precision)
            yield from codec.decode(record).items()

    def select_trainable(self, round_number: int, state: StateDict | None = None) -> StateDict:
        """Select the tensors that clients train in a round.

        Args:
            round_number: Number of the round, from 1.
            state: An adapter; None for the global one.

        Returns:
            Tensors of one factor, or of both.
        """
        factor = select_trainable_factor(self._aggregation, round_number)
        return select_factor(self.adapter if state is None else state, factor)
