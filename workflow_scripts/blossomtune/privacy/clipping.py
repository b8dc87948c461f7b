"""Clip client updates and add Gaussian noise, with Flower's wrappers and mods."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message
from flwr.clientapp.mod import adaptiveclipping_mod, fixedclipping_mod
from flwr.serverapp import strategy as flower

from blossomtune.config.federation import PrivacySettings

TrainFunction = Callable[[Message, Context], Message]
ClippingMod = Callable[[Message, Context, TrainFunction], Message]


class AdaptiveClipping:
    """Mixin that corrects the norm update of Flower's adaptive clipping wrappers.

    Flower lowers the norm when more updates are clipped than the target. That clips still more.
    Flower also scales a round's noise by the next norm instead of the round's own.

    Attributes:
        next_norm: Clipping norm of the next round.
    """

    next_norm: float

    def _geometric_update(self: Any, clipped_fraction: float) -> None:
        excess = clipped_fraction - self.target_clipped_quantile
        self.next_norm = self.clipping_norm * math.exp(self.clip_norm_lr * excess)


class ServerSideAdaptiveClipping(
    AdaptiveClipping, flower.DifferentialPrivacyServerSideAdaptiveClipping
):
    """Adaptive clipping on the server (arXiv 1905.03871)."""


class ClientSideAdaptiveClipping(
    AdaptiveClipping, flower.DifferentialPrivacyClientSideAdaptiveClipping
):
    """Adaptive clipping on the clients (arXiv 1905.03871)."""


_WRAPPERS = {
    ("server", "fixed"): flower.DifferentialPrivacyServerSideFixedClipping,
    ("client", "fixed"): flower.DifferentialPrivacyClientSideFixedClipping,
    ("server", "adaptive"): ServerSideAdaptiveClipping,
    ("client", "adaptive"): ClientSideAdaptiveClipping,
}


def wrap_strategy(
    privacy: PrivacySettings,
    strategy: flower.FedAvg,
    clipping_norm: float,
    num_replies: int,
    start: ArrayRecord,
) -> Any:
    """Wrap a strategy for one round with clipping and Gaussian noise (arXiv 1710.06963).

    Args:
        privacy: The federation's privacy settings.
        strategy: Strategy that averages the replies. All replies must have the same weight, or
            the noise is too small.
        clipping_norm: L2 norm that updates are clipped to in this round.
        num_replies: Number of replies. Flower divides the noise by it, so the number of sampled
            clients would be too large.
        start: Arrays that clients received, in the order of the replies' arrays.

    Returns:
        One of Flower's differential privacy wrappers. Its ``noise_multiplier`` is the effective
        one.
    """
    wrapper_class: Any = _WRAPPERS[privacy.side, privacy.clipping]
    multiplier = privacy.noise_multiplier
    if privacy.clipping == "fixed":
        wrapper = wrapper_class(strategy, multiplier, clipping_norm, num_replies)
    else:
        wrapper = wrapper_class(
            strategy,
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


def compute_noise_stddev(noise_multiplier: float, clipping_norm: float, num_replies: int) -> float:
    """Compute the standard deviation of the noise on an average (arXiv 1710.06963).

    Args:
        noise_multiplier: Standard deviation on the sum of updates, per unit of clipping norm.
        clipping_norm: L2 norm that updates were clipped to.
        num_replies: Number of averaged updates.

    Returns:
        Standard deviation per element.
    """
    return noise_multiplier * clipping_norm / num_replies


def build_clipping_mod(privacy: PrivacySettings) -> ClippingMod | None:
    """Return Flower's mod that clips a client's update, or None for server-side clipping.

    The message must hold one ArrayRecord and one ConfigRecord with the clipping norm. The reply
    must hold one MetricRecord and one ArrayRecord with the same names in the same order.
    """
    if privacy.side == "server":
        return None
    flower_mod = {"fixed": fixedclipping_mod, "adaptive": adaptiveclipping_mod}[privacy.clipping]

    def clip(message: Message, context: Context, train: TrainFunction) -> Message:
        def train_and_perturb(message: Message, context: Context) -> Message:
            (start,) = message.content.array_records.values()
            reply = train(message, context)
            if not reply.has_error():
                for name, record in list(reply.content.array_records.items()):
                    reply.content[name] = perturb_if_unchanged(record, start)
            return reply

        return flower_mod(message, context, train_and_perturb)

    return clip


def perturb_if_unchanged(record: ArrayRecord, start: ArrayRecord) -> ArrayRecord:
    """Move one element by a rounding error if nothing changed in training.

    Flower's mods divide by the L2 norm of the change.

    Args:
        record: Arrays after training.
        start: Arrays before training.

    Returns:
        The record itself, or a copy if it equals ``start``.
    """
    arrays = record.to_numpy_ndarrays()
    if list(record) != list(start):
        return record
    pairs = zip(arrays, start.to_numpy_ndarrays(), strict=True)
    changes = (after - before for after, before in pairs)
    if any(np.vdot(change, change) > 0 for change in changes):
        return record
    first = arrays[0].reshape(-1)
    first[0] += max(2 * np.finfo(first.dtype).eps * abs(first[0]), 1e-15)
    arrays[0] = first.reshape(arrays[0].shape)
    return ArrayRecord({name: Array(a) for name, a in zip(record, arrays, strict=True)})
