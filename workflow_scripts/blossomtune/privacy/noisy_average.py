"""Average clipped updates and add Gaussian noise, with Flower's wrappers.

Flower's wrappers clip all replies before they average. Here they get one reply at a time, which
gives the same bits, and add the noise once at the end.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message
from flwr.serverapp import strategy as flower

from blossomtune.config.federation import PrivacySettings


class OneByOne:
    """Mixin for Flower's wrappers that aggregates replies one after another.

    Attributes:
        noise_multiplier: Effective standard deviation on the sum of updates, per unit of clipping
            norm.
        next_norm: Clipping norm of the next round.
    """

    noise_multiplier: float
    next_norm: float

    def aggregate(self: Any, replies: Iterable[Message]) -> ArrayRecord:
        """Return the noisy average of the replies; each is dropped before the next one."""
        average: dict[str, np.ndarray[Any, Any]] = {}
        weight = 1.0 / self.num_sampled_clients
        for reply in replies:
            clipped, _ = self.aggregate_train(1, [reply])
            for name, array in clipped.items():
                term = array.numpy() * weight
                if name in average:
                    average[name] += term
                else:
                    average[name] = term
        record = ArrayRecord({name: Array(np.asarray(value)) for name, value in average.items()})
        self._finish_clipping()
        noisy: ArrayRecord = super()._add_noise_to_aggregated_arrays(record)  # type: ignore[misc]
        return noisy

    def _add_noise_to_aggregated_arrays(self, aggregated: ArrayRecord) -> ArrayRecord:
        return aggregated  # of a single reply

    def _finish_clipping(self) -> None:
        pass


class AdaptiveClipping(OneByOne):
    """Mixin that also corrects the norm update of Flower's adaptive clipping wrappers.

    Flower lowers the norm when more updates are clipped than the target. That clips still more.
    Flower also scales a round's noise by the next norm instead of the round's own.
    """

    _num_clipped = 0

    def _noisy_fraction(self, count: int, total: int) -> float:
        self._num_clipped += count  # of a single reply
        return 0.0

    def _geometric_update(self: Any, clipped_fraction: float) -> None:
        excess = clipped_fraction - self.target_clipped_quantile
        self.next_norm = self.clipping_norm * math.exp(self.clip_norm_lr * excess)

    def _finish_clipping(self: Any) -> None:
        total = self.num_sampled_clients
        self._geometric_update(super()._noisy_fraction(self._num_clipped, total))  # type: ignore[misc]


class ServerSideFixedClipping(OneByOne, flower.DifferentialPrivacyServerSideFixedClipping):
    """Fixed clipping on the server (arXiv 1710.06963)."""


class ClientSideFixedClipping(OneByOne, flower.DifferentialPrivacyClientSideFixedClipping):
    """Fixed clipping on the clients (arXiv 1710.06963)."""


class ServerSideAdaptiveClipping(
    AdaptiveClipping, flower.DifferentialPrivacyServerSideAdaptiveClipping
):
    """Adaptive clipping on the server (arXiv 1905.03871)."""


class ClientSideAdaptiveClipping(
    AdaptiveClipping, flower.DifferentialPrivacyClientSideAdaptiveClipping
):
    """Adaptive clipping on the clients (arXiv 1905.03871)."""


_WRAPPERS = {
    ("server", "fixed"): ServerSideFixedClipping,
    ("client", "fixed"): ClientSideFixedClipping,
    ("server", "adaptive"): ServerSideAdaptiveClipping,
    ("client", "adaptive"): ClientSideAdaptiveClipping,
}


def build_noisy_average(
    privacy: PrivacySettings, clipping_norm: float, num_replies: int, start: ArrayRecord
) -> Any:
    """Build the average of one round with clipping and Gaussian noise (arXiv 1710.06963).

    Args:
        privacy: The federation's privacy settings.
        clipping_norm: L2 norm that updates are clipped to in this round.
        num_replies: Number of replies. Flower divides the noise by it, so the number of sampled
            clients would be too large.
        start: Arrays that clients received, in the order of the replies' arrays.

    Returns:
        One of Flower's differential privacy wrappers with ``OneByOne``.
    """
    wrapper_class: Any = _WRAPPERS[privacy.side, privacy.clipping]
    multiplier = privacy.noise_multiplier
    if privacy.clipping == "fixed":
        wrapper = wrapper_class(flower.FedAvg(), multiplier, clipping_norm, num_replies)
        wrapper.next_norm = clipping_norm
    else:
        wrapper = wrapper_class(
            flower.FedAvg(),
            multiplier,
            num_replies,
            initial_clipping_norm=clipping_norm,
            target_clipped_quantile=1 - privacy.target_quantile,
            clip_norm_lr=privacy.clipping_rate,
            # The paper's num_replies / 20 is too small for few clients.
            # The multiplier raises the noise of updates by at most 16 %.
            clipped_count_stddev=max(num_replies / 20, multiplier),
        )
    if privacy.side == "server":
        wrapper.current_arrays = start
    return wrapper
