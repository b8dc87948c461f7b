"""Clip client updates with Flower's mods."""

from collections.abc import Callable

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message
from flwr.clientapp.mod import adaptiveclipping_mod, fixedclipping_mod

from blossomtune.config.federation import PrivacySettings

TrainFunction = Callable[[Message, Context], Message]
ClippingMod = Callable[[Message, Context, TrainFunction], Message]


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
