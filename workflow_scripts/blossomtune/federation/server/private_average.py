"""Average clipped updates and add noise, with one client's tensors in memory at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from flwr.app import ArrayRecord, Message

from blossomtune.config.federation import PrivacySettings
from blossomtune.federation.server.aggregate_pieces import (
    WeightedState,
    build_reply,
    to_array_record,
)
from blossomtune.named_tensors import StateDict
from blossomtune.privacy import clipping, noise_seed, noisy_average


@dataclass(frozen=True)
class PrivateAverage:
    """Noisy average of clipped updates.

    Attributes:
        state: float32 tensors, sorted by name.
        noise_multiplier: Standard deviation of the noise on the sum, per unit of clipping norm.
        next_norm: Clipping norm of the next round.
    """

    state: StateDict
    noise_multiplier: float
    next_norm: float


def average_privately(
    privacy: PrivacySettings,
    clipping_norm: float,
    current_state: StateDict,
    results: Sequence[WeightedState],
    secret: bytes,
    purpose: bytes,
) -> PrivateAverage:
    """Average the results with equal weights, since the noise is valid only for these.

    The seed of the noise depends on all results, so they are read twice.

    Args:
        privacy: The federation's privacy settings.
        clipping_norm: L2 norm that updates are clipped to in this round.
        current_state: Tensors before the round.
        results: Results in the order of the clients.
        secret: The server's secret, the key of the seed.
        purpose: What else the noise depends on.

    Returns:
        The average.
    """
    names = sorted(current_state)
    start = to_array_record({name: current_state[name] for name in names})
    average = noisy_average.build_noisy_average(privacy, clipping_norm, len(results), start)
    material = _iter_seed_material(purpose, names, start, results)
    with noise_seed.seeded_numpy_rng(secret, material):
        arrays = average.aggregate(_iter_replies(names, start, results))
    state = arrays.to_torch_state_dict()
    return PrivateAverage(
        {name: state[name].float() for name in names}, average.noise_multiplier, average.next_norm
    )


def _iter_replies(
    names: Sequence[str], start: ArrayRecord, results: Sequence[WeightedState]
) -> Iterator[Message]:
    for result in results:
        state = {name: result.state[name] for name in names}
        reply = build_reply(replace(result, weight=1.0), state)
        arrays = reply.content.array_records["arrays"]
        reply.content["arrays"] = clipping.perturb_if_unchanged(arrays, start)
        yield reply


def _iter_seed_material(
    purpose: bytes, names: Sequence[str], start: ArrayRecord, results: Sequence[WeightedState]
) -> Iterator[bytes]:
    yield purpose
    yield from _iter_arrays(start)
    for reply in _iter_replies(names, start, results):
        yield from _iter_arrays(reply.content.array_records["arrays"])
    bits = [None if r.was_clipped is None else int(r.was_clipped) for r in results]
    yield repr(bits).encode()


def _iter_arrays(record: ArrayRecord) -> Iterator[bytes]:
    for name, array in record.items():
        yield name.encode()
        yield array.data
