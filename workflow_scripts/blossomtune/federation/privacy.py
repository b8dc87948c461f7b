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

import hashlib
import hmac
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message
from flwr.clientapp.mod import adaptiveclipping_mod, fixedclipping_mod
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.serverapp import strategy as flower

from blossomtune.config.federation import Privacy
from blossomtune.errors import UserError

FEWEST_BYTES = 16
"""Of a secret: 128 bits cannot be tried out."""


def spent(privacy: Privacy, clients: int, sampled: int, rounds: int) -> dict[str, float]:
    """What the adapters of so many rounds give away about any one client.

    A client whose data are replaced moves the sum of clipped updates by up to twice the norm, so
    the noise is ``noise_multiplier / 2`` of the sensitivity, and Rényi's divergences add up over
    rounds (arXiv 1702.07476). Adaptive clipping splits the noise between updates and the count of
    clipped ones so that both together are the same mechanism. Where not all clients take part, the
    bound for samples without replacement holds if it is the smaller one (arXiv 1808.00087); it
    counts on nobody knowing who took part. Those who do, from the seed or history.json, are held
    to ``spent(privacy, sampled, sampled, rounds)``.

    Args:
        privacy: the block.
        clients: how many there are.
        sampled: how many of them are asked in a round; if fewer answer, it is not more.
        rounds: rounds so far.

    Returns:
        ``epsilon``, rounded up, and ``delta``, which ought to be far below one over ``clients``.
    """
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    if not rounds:
        return {"epsilon": 0.0, "delta": privacy.delta}
    once = dp_accounting.GaussianDpEvent(privacy.noise_multiplier / 2)
    events = [once]
    if sampled < clients:
        events.append(dp_accounting.SampledWithoutReplacementDpEvent(clients, sampled, once))
    epsilons = []
    for event in events:
        replace_one = dp_accounting.NeighboringRelation.REPLACE_ONE
        accountant = RdpAccountant(neighboring_relation=replace_one)
        accountant.compose(event, rounds)
        epsilons.append(accountant.get_epsilon(privacy.delta))
    return {"epsilon": math.ceil(min(epsilons) * 1e6) / 1e6, "delta": privacy.delta}


def secret(privacy: Privacy) -> bytes:
    """The content of the secret's file; nothing where the block names none.

    Raises:
        UserError: where the file is missing, too short or open to others than its owner.
    """
    if privacy.secret is None:
        return b""
    named = f"federation.privacy.secret {privacy.secret}"
    file = Path(privacy.secret)
    hint = f"make one with: umask 077; head -c 32 /dev/urandom > {file}"
    try:
        content, mode = file.read_bytes(), file.stat().st_mode
    except OSError as error:
        raise UserError(f"{named} cannot be read: {error.strerror}", hint) from None
    if mode & 0o077:
        raise UserError(f"{named} is open to others than its owner", f"chmod 600 {file}")
    if len(content) < FEWEST_BYTES:
        raise UserError(f"{named} has {len(content)} bytes, at least {FEWEST_BYTES} wanted", hint)
    return content


def fingerprint(privacy: Privacy) -> str | None:
    """Tells one secret from another without giving it away; None where there is none."""
    key = secret(privacy)
    return hmac.digest(key, b"fingerprint", "sha256").hex()[:16] if key else None


@contextmanager
def seeded(key: bytes, about: Iterable[bytes]) -> Iterator[None]:
    """Seeds numpy's global generator, from which Flower draws, and puts it back afterwards.

    The numbers follow from the secret and from everything that the noise is added to, as in
    deterministic signatures (RFC 6979). Noise that followed from seed and round alone would be the
    same in another experiment, and taking one adapter from the other would take it away.

    Args:
        key: the secret.
        about: what the noise is for; anything else gets other noise.
    """
    code = hmac.new(key, digestmod=hashlib.sha512)
    for part in about:
        code.update(hashlib.sha256(part).digest())
    before = np.random.get_state()
    # One number of 32 bits could be found by trying; sixteen of them are 512 bits.
    np.random.seed(np.frombuffer(code.digest(), ">u4").astype(np.uint32))
    try:
        yield
    finally:
        np.random.set_state(before)


class _Adaptive:
    """Mends two things in Flower's adaptive clipping.

    Flower lowers the norm when more updates are clipped than wanted, which clips still more; and it
    measures the noise by the new norm although the old one has clipped.
    """

    def _geometric_update(self: Any, clipped: float) -> None:
        excess = clipped - self.target_clipped_quantile
        self.next_norm = self.clipping_norm * math.exp(self.clip_norm_lr * excess)


class _ServerAdaptive(_Adaptive, flower.DifferentialPrivacyServerSideAdaptiveClipping):
    pass


class _ClientAdaptive(_Adaptive, flower.DifferentialPrivacyClientSideAdaptiveClipping):
    pass


def wrap(
    privacy: Privacy, inner: flower.FedAvg, norm: float, answered: int, start: ArrayRecord
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
        wrapper = (_ServerAdaptive if on_server else _ClientAdaptive)(
            inner,
            z,
            answered,
            initial_clipping_norm=norm,
            target_clipped_quantile=1 - privacy.target_quantile,
            clip_norm_lr=privacy.clipping_rate,
            # A twentieth is the paper's. With few clients it leaves too little for the updates,
            # and below z / 2 nothing; with z their noise grows by 16 % at most.
            clipped_count_stddev=max(answered / 20, z),
        )
    elif on_server:
        wrapper = flower.DifferentialPrivacyServerSideFixedClipping(inner, z, norm, answered)
    else:
        wrapper = flower.DifferentialPrivacyClientSideFixedClipping(inner, z, norm, answered)
    if on_server:
        wrapper.current_arrays = start
    return wrapper


def mod(privacy: Privacy) -> Mod | None:
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
                    reply.content[name] = moved(record, start)
            return reply

        return clip(message, context, moving)

    return clipped


def sends_norm_bit(privacy: Privacy | None) -> bool:
    """Whether the mod adds to an answer if it was clipped."""
    return privacy is not None and privacy.side == "client" and privacy.clipping == "adaptive"


def moved(record: ArrayRecord, start: ArrayRecord) -> ArrayRecord:
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
