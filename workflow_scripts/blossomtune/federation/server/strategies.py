"""Aggregate the clients' results of a round, and carry the strategy's state between rounds."""

from collections.abc import Sequence
from copy import copy

import torch

from blossomtune.config.federation import FederationSettings, PrivacySettings
from blossomtune.config.strategies import compute_min_clients
from blossomtune.errors import UserError
from blossomtune.federation.server.aggregate_pieces import WeightedState, aggregate_pieces
from blossomtune.federation.server.private_average import average_privately
from blossomtune.named_tensors import StateDict
from blossomtune.privacy import clipping, noise_seed
from blossomtune.privacy.record_keys import CLIPPING_NORM_KEY

__all__ = ["ServerStrategy", "WeightedState"]


class ServerStrategy:
    """Strategy of the server, with new Flower strategies in each round.

    Momentum and clipping norm are kept by tensor name. So a restarted server continues with the
    same bits, and in rolora each factor has its own momentum.

    Args:
        federation: The experiment's federation block.
        seed: The configuration's seed.
        state_dict: ``state_dict()`` of the strategy to continue from.

    Raises:
        UserError: If the privacy secret is not usable.
    """

    def __init__(
        self, federation: FederationSettings, seed: int, state_dict: StateDict | None = None
    ) -> None:
        self._federation, self._seed, self._state = federation, seed, dict(state_dict or {})
        self._secret = noise_seed.read_secret(federation.privacy) if federation.privacy else b""
        self._privacy_metrics: dict[str, float] | None = None

    def configure_train(self) -> dict[str, float]:
        """Return the config of a train message: the clipping norm, if clients clip."""
        privacy = self._federation.privacy
        if privacy is None or privacy.side == "server":
            return {}
        return {CLIPPING_NORM_KEY: self._get_clipping_norm(privacy)}

    def state_dict(self) -> StateDict:
        """Return the float64 tensors that the next round depends on, besides the adapter."""
        return dict(self._state)

    def copy(self) -> "ServerStrategy":
        """Return a strategy that later rounds of this one do not change."""
        other = copy(self)
        other._state = dict(self._state)
        return other

    def get_privacy_metrics(self) -> dict[str, float] | None:
        """Return clipping norm and noise deviation of the last round; None without privacy."""
        return self._privacy_metrics

    def aggregate_train(
        self, round_number: int, current_state: StateDict, results: Sequence[WeightedState]
    ) -> StateDict:
        """Return the tensors after a round.

        All sums are in float64. So equal clients return unchanged, and Krum's distances, which
        Flower computes as differences of squares, are precise.

        Args:
            round_number: Number of the round, from 1.
            current_state: The server's tensors before the round.
            results: Results in the order of the clients.

        Returns:
            float32 tensors with the names of ``current_state``, sorted.

        Raises:
            UserError: If the strategy needs more results.
        """
        settings = self._federation.strategy
        if len(results) < (needed := compute_min_clients(settings)):
            raise UserError(
                f"round {round_number} stops: {settings.name} with these parameters needs at least "
                f"{needed} results, and there are {len(results)}",
                "clients failed; let more take part (federation.fraction_train), so that some may",
            )
        if privacy := self._federation.privacy:
            return self._aggregate_with_privacy(privacy, round_number, current_state, results)
        # FedAdam counts steps, and rolora trains each factor in every other round.
        is_alternating = self._federation.aggregation == "rolora"
        step = (round_number + 1) // 2 if is_alternating else round_number
        state, moments = aggregate_pieces(settings, step, current_state, results, self._state)
        self._state |= moments
        return state

    def _get_clipping_norm(self, privacy: PrivacySettings) -> float:
        norm = self._state.get(CLIPPING_NORM_KEY)
        return privacy.clipping_norm if norm is None else float(norm)

    def _aggregate_with_privacy(
        self,
        privacy: PrivacySettings,
        round_number: int,
        current_state: StateDict,
        results: Sequence[WeightedState],
    ) -> StateDict:
        norm = self._get_clipping_norm(privacy)
        parameters = privacy.model_dump_json(exclude={"secret"})
        purpose = f"noise {self._seed} {round_number} {norm!r} {parameters}".encode()
        average = average_privately(privacy, norm, current_state, results, self._secret, purpose)
        deviation = clipping.compute_noise_stddev(average.noise_multiplier, norm, len(results))
        self._privacy_metrics = {"clipping_norm": norm, "noise_deviation": deviation}
        if privacy.clipping == "adaptive":
            self._state[CLIPPING_NORM_KEY] = torch.tensor(average.next_norm, dtype=torch.float64)
        return average.state
