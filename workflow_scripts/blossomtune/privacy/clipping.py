"""Differential privacy of clients: who clips, the noise, and what it has cost so far.

Flower's wrappers clip what each client changed to an L2 norm and add Gaussian noise to the average
(arXiv 1710.06963), with a norm that may follow a quantile of the updates (arXiv 1905.03871).

The guarantee: two federations that differ in all the data of one client give adapters, of all
rounds together, that are (epsilon, delta)-indistinguishable; see ``spent``. It does not cover

- losses, counts of examples, drift and reasons of failures. They are in history.json and in
  checkpoints without noise: those belong to the server;
- the server itself, which sees each client's update. With ``side: client`` the updates it sees are
  clipped, and clients are trusted to have done so;
- whether a client answers at all, where that depends on its data;
- other experiments with the same clients: their epsilons add up;
- whoever knows the noise's seed. Without ``secret`` that is whoever knows the configuration's seed;
- attacks on the generator or on the rounding of floats: the noise is numpy's, whose Mersenne
  Twister is not a cryptographic generator.
"""

import math
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message
from flwr.clientapp.mod import adaptiveclipping_mod, fixedclipping_mod
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.serverapp import strategy as flower

from blossomtune.config.federation import PrivacySettings


class _AdaptiveClippingFixes:
    """Mends two things in Flower's adaptive clipping.

    Flower lowers the norm when more updates are clipped than wanted, which clips still more; and it
    measures the noise by the new norm although the old one has clipped.
    """

    def _geometric_update(self: Any, clipped: float) -> None:
        excess = clipped - self.target_clipped_quantile
        self.next_norm = self.clipping_norm * math.exp(self.clip_norm_lr * excess)


class _ServerSideAdaptiveClipping(
    _AdaptiveClippingFixes, flower.DifferentialPrivacyServerSideAdaptiveClipping
):
    pass


class _ClientSideAdaptiveClipping(
    _AdaptiveClippingFixes, flower.DifferentialPrivacyClientSideAdaptiveClipping
):
    pass


def wrap_strategy(
    privacy: PrivacySettings,
    strategy: flower.FedAvg,
    clipping_norm: float,
    num_replies: int,
    start: ArrayRecord,
) -> flower.Strategy:
    """Flower's wrapper for one round.

    Args:
        privacy: the block.
        inner: averages the results; they must weigh the same, or the noise is too small.
        norm: the clipping norm of the round.
        answered: how many results there are. Flower divides the noise by it, so with the number of
            clients that were asked it would be too small.
        start: what clients got, with the names in the order of the results.
    """
    z, on_server = privacy.noise_multiplier, privacy.side == "server"
    if privacy.clipping == "adaptive":
        wrapper = (_ServerSideAdaptiveClipping if on_server else _ClientSideAdaptiveClipping)(
            strategy,
            z,
            num_replies,
            initial_clipping_norm=clipping_norm,
            target_clipped_quantile=1 - privacy.target_quantile,
            clip_norm_lr=privacy.clipping_rate,
            # A twentieth is the paper's. With few clients it leaves too little for the updates,
            # and below z / 2 nothing; with z their noise grows by 16 % at most.
            clipped_count_stddev=max(num_replies / 20, z),
        )
    elif on_server:
        wrapper = flower.DifferentialPrivacyServerSideFixedClipping(
            strategy, z, clipping_norm, num_replies
        )
    else:
        wrapper = flower.DifferentialPrivacyClientSideFixedClipping(
            strategy, z, clipping_norm, num_replies
        )
    if on_server:
        wrapper.current_arrays = start
    return wrapper


def build_clipping_mod(privacy: PrivacySettings) -> Mod | None:
    """Flower's mod that clips what a client sends, for its train function; None on the server.

    The message must hold one ArrayRecord and one ConfigRecord with ``ServerStrategy.config()``,
    and the reply one ArrayRecord with the same names in the same order and one MetricRecord.
    """
    if privacy.side == "server":
        return None
    clip = {"fixed": fixedclipping_mod, "adaptive": adaptiveclipping_mod}[privacy.clipping]

    def clipped(message: Message, context: Context, train: ClientAppCallable) -> Message:
        def moving(message: Message, context: Context) -> Message:
            (start,) = message.content.array_records.values()
            reply = train(message, context)
            if not reply.has_error():
                for name, record in list(reply.content.array_records.items()):
                    reply.content[name] = perturb_if_unchanged(record, start)
            return reply

        return clip(message, context, moving)

    return clipped


def sends_norm_bit(privacy: PrivacySettings | None) -> bool:
    """Whether the mod adds to an answer if it was clipped."""
    return privacy is not None and privacy.side == "client" and privacy.clipping == "adaptive"


def perturb_if_unchanged(record: ArrayRecord, start: ArrayRecord) -> ArrayRecord:
    """The record, changed by a hair where it is ``start``: Flower divides by their distance."""
    arrays = record.to_numpy_ndarrays()
    if list(record) != list(start):
        return record
    pairs = zip(arrays, start.to_numpy_ndarrays(), strict=True)
    changes = (one - other for one, other in pairs)
    if any(np.vdot(change, change) > 0 for change in changes):
        return record
    first = arrays[0].reshape(-1)
    first[0] += max(2 * np.finfo(first.dtype).eps * abs(first[0]), 1e-15)
    named = zip(record, [first.reshape(arrays[0].shape), *arrays[1:]], strict=True)
    return ArrayRecord({name: Array(array) for name, array in named})
