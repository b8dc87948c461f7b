import math

import mpmath
import numpy as np
import pytest
from scipy.special import ndtr

from blossomtune.privacy.subsampled_gaussian import ROUNDING_ERROR, compute_subsampled_epsilon


def test_epsilon_of_a_sample_is_exact_for_one_round():
    """Compare with the worst case: all updates are opposite to the client's."""
    for z, num_sampled, delta in [(0.5, 3, 1e-3), (1, 1, 1e-4), (2, 9, 1e-5), (4, 5, 1e-6)]:
        epsilon = compute_subsampled_epsilon(z / 2, 10, num_sampled, 1, delta)
        q = mpmath.mpf(num_sampled) / 10

        def exact_delta(epsilon, z=z, q=q):
            loss = mpmath.log(1 + mpmath.expm1(epsilon) / q)  # of the round if it has the client
            start = (loss * z**2) / 2  # where the likelihood ratio reaches exp(epsilon)
            upper = (1 - q) * mpmath.ncdf(-(start + 1) / z) + q * mpmath.ncdf(-(start - 1) / z)
            return upper - mpmath.exp(epsilon) * mpmath.ncdf(-(start + 1) / z)

        assert exact_delta(epsilon) <= delta < exact_delta(0.999 * epsilon - 2e-6)


SAMPLED_SETTINGS = [
    (z, num_clients, num_sampled, num_rounds, delta)
    for num_clients, num_sampled, num_rounds, delta in [
        (100, 20, 5, 1e-3),
        (1000, 10, 40, 1e-5),
        (10, 1, 2, 1e-2),
        (30, 29, 12, 1e-8),
        (500, 250, 100, 1e-6),
    ]
    for z in (0.7, 1, 2, 8)
]


@pytest.mark.parametrize(
    ("z", "num_clients", "num_sampled", "num_rounds", "delta"), SAMPLED_SETTINGS
)
def test_epsilon_of_samples_is_at_most_two_percent_above_the_exact_one(
    z, num_clients, num_sampled, num_rounds, delta
):
    """Bound the exact delta from below: round privacy losses down, and convolve them."""
    epsilon = compute_subsampled_epsilon(z / 2, num_clients, num_sampled, num_rounds, delta)
    losses, probabilities = compose_rounded_down(z / 2, num_sampled / num_clients, num_rounds)

    def smallest_delta(epsilon):
        above = losses > epsilon
        return (probabilities[above] * -np.expm1(epsilon - losses[above])).sum()

    assert smallest_delta(epsilon) <= delta
    assert smallest_delta(0.98 * epsilon - 1e-3) > delta


def compose_rounded_down(deviation, q, num_rounds, grid_size=8000):
    """Return privacy losses of all rounds and their probabilities, each loss rounded down.

    Without sampling, the loss is μt - μ²/2 for a normal t of mean μ with the client and 0 without.
    A sample's loss is log(1 - q + q exp(loss)) where that is positive. The trade-off function is
    symmetric: a negative loss is as likely as the positive one is for the other data set.
    """
    mu = 1 / deviation
    largest = math.log1p(q * math.expm1(mu * (mu / 2 + 6)))
    edges = np.linspace(0, largest, grid_size + 1)
    t = (np.log1p(np.expm1(edges) / q) + mu**2 / 2) / mu
    without = ndtr(-t)
    positive = (1 - q) * without + q * ndtr(mu - t)
    one_round = np.concatenate([-np.diff(without)[::-1], -np.diff(positive), positive[-1:]])
    one_round[grid_size] += 1 - without[0] - positive[0]  # a loss of 0
    size = 2 * num_rounds * grid_size + 1
    padded = 2 ** math.ceil(math.log2(size))
    composed = np.fft.irfft(np.fft.rfft(one_round, padded) ** num_rounds, padded)[:size]
    return edges[1] * (np.arange(size) - num_rounds * grid_size), composed


@pytest.mark.parametrize("z", [0.7, 3])
def test_smallest_deltas_get_the_larger_bound_by_renyi_divergences(z):
    limit = 100 * ROUNDING_ERROR

    def epsilon(delta):
        return compute_subsampled_epsilon(z / 2, 100, 10, 20, delta)

    assert epsilon(limit) < 0.95 * epsilon(0.99 * limit) < epsilon(1e-200)


def test_noise_that_hides_everything_has_an_epsilon_of_zero():
    assert compute_subsampled_epsilon(1e9, 100, 10, 20, 1e-3) == 0
