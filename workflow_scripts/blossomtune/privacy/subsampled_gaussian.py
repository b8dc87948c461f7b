"""Privacy loss of Gaussian mechanisms on random samples, drawn without replacement.

Neighbouring data sets differ in one record, which is replaced. One round's trade-off function is
then C_p(f) of arXiv 1905.02383 (definition 4.2, theorem 4.2), with p the sampled fraction and f the
Gaussian's trade-off function. It is symmetric. The rounds together have its product as trade-off
function (theorem 3.2), although no single pair of neighbours attains both of its halves
(arXiv 2405.20769).
"""

import math

import numpy as np
from numpy.typing import NDArray

GRID_SIZE = 2000
"""Grid points of one round's privacy losses, on each side of 0."""

ROUNDING_ERROR = 1e-11
"""Bound for the rounding errors in a composed delta; the measured ones are below 1e-13."""


def compute_subsampled_epsilon(
    deviation: float, num_records: int, num_sampled: int, num_rounds: int, delta: float
) -> float:
    """Return an upper bound of epsilon for all rounds together.

    One round's privacy loss is rounded to a grid in the direction of a larger loss (arXiv
    2207.04380) and convolved with itself. A delta near the rounding errors of the convolution and
    losses beyond the grid get the larger bound by Rényi divergences (arXiv 1808.00087).

    Args:
        deviation: Standard deviation of the noise, per unit of the sensitivity to a replacement.
        num_records: Number of records.
        num_sampled: Records sampled per round, fewer than ``num_records``.
        num_rounds: Number of rounds.
        delta: Probability with which epsilon may not hold.

    Returns:
        Epsilon, not negative.
    """
    from dp_accounting.pld import pld_pmf

    fraction = num_sampled / num_records
    neglected = 1e-4 * delta
    largest_loss = _compute_largest_loss(deviation, fraction, neglected / num_rounds)
    if largest_loss == 0:
        return 0.0  # a round without loss has a delta of at most `neglected / num_rounds`
    interval = largest_loss / GRID_SIZE
    if interval > 1 or delta < 100 * ROUNDING_ERROR:
        return _compute_renyi_epsilon(deviation, num_records, num_sampled, num_rounds, delta)
    epsilons = np.linspace(0, largest_loss, GRID_SIZE + 1)
    deltas = _compute_deltas(epsilons, deviation, fraction)
    one_round = pld_pmf.create_pmf_pessimistic_connect_dots_fixed_gap(
        interval, -GRID_SIZE, GRID_SIZE, deltas
    )
    all_rounds = one_round.self_compose(num_rounds, tail_mass_truncation=neglected)
    return float(all_rounds.get_epsilon_for_delta(delta - ROUNDING_ERROR))


def _compute_renyi_epsilon(
    deviation: float, num_records: int, num_sampled: int, num_rounds: int, delta: float
) -> float:
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE)
    gaussian = dp_accounting.GaussianDpEvent(deviation)
    event = dp_accounting.SampledWithoutReplacementDpEvent(num_records, num_sampled, gaussian)
    accountant.compose(event, num_rounds)
    return float(accountant.get_epsilon(delta))


def _compute_largest_loss(deviation: float, fraction: float, delta: float) -> float:
    """Return the epsilon of one round."""
    from dp_accounting.gaussian_mechanism import get_epsilon_gaussian

    unsampled = float(get_epsilon_gaussian(deviation, min(delta / fraction, 0.5)))
    loss = unsampled + math.log(fraction + (1 - fraction) * math.exp(-unsampled))
    return max(loss, 0.0)


def _compute_deltas(
    epsilons: NDArray[np.float64], deviation: float, fraction: float
) -> NDArray[np.float64]:
    """Return delta of one round at each epsilon, and at its negative.

    Args:
        epsilons: From 0 on, ascending.
        deviation: As in ``compute_subsampled_epsilon``.
        fraction: Sampled fraction of the records.

    Returns:
        Delta from the negative of the last epsilon up to the last epsilon.
    """
    from scipy.special import log_ndtr, ndtr

    mu = 1 / deviation
    inverse = np.exp(-epsilons)
    # The Gaussian's epsilon that amplification by sampling reduces to this one.
    unsampled = epsilons + np.log1p((fraction - 1) * inverse) - math.log(fraction)
    shift = unsampled / mu
    deltas = ndtr(mu / 2 - shift) - np.exp(unsampled + log_ndtr(-mu / 2 - shift))
    deltas = fraction * np.maximum(deltas, 0)
    # A symmetric trade-off function: exchanging the neighbours negates epsilon.
    mirrored = 1 - inverse + inverse * deltas
    result: NDArray[np.float64] = np.concatenate([mirrored[:0:-1], deltas])
    return result.clip(0, 1)
