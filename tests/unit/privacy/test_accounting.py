import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from blossomtune.config.federation import PrivacySettings
from blossomtune.privacy.accounting import compute_epsilon


@pytest.mark.parametrize("z", [0.3, 1, 4, 30])
@pytest.mark.parametrize(("num_rounds", "delta"), [(1, 1e-5), (7, 1e-3), (60, 1e-12), (300, 0.02)])
def test_epsilon_of_full_participation_is_the_smallest_multiple_of_a_millionth(
    z, num_rounds, delta
):
    """Compare with the delta of a Gaussian, computed with mpmath (arXiv 1805.06530, theorem 8).

    All rounds together are one Gaussian mechanism with a sensitivity of 2 √num_rounds / z
    deviations.
    """
    privacy = PrivacySettings(noise_multiplier=z, delta=delta)
    epsilon = compute_epsilon(privacy, 9, 9, num_rounds)["epsilon"]

    def exact_delta(epsilon):
        mu = 2 * mpmath.sqrt(num_rounds) / mpmath.mpf(z)
        upper, lower = (mpmath.ncdf(s * mu / 2 - epsilon / mu) for s in (1, -1))
        return upper - mpmath.exp(epsilon) * lower

    with mpmath.workdps(60):
        assert exact_delta(mpmath.mpf(epsilon)) <= delta
        if epsilon:
            assert exact_delta(mpmath.mpf(epsilon) - mpmath.mpf("1.001e-6")) > delta


@given(st.floats(0.3, 20), st.integers(1, 300), st.sampled_from([1e-5, 1e-8, 1e-2]))
@settings(max_examples=25)
def test_epsilon_of_full_participation_is_below_renyi_and_covers_the_exact_delta(
    z, num_rounds, delta
):
    """Compare with Rényi's formula on a fine grid, and with the exact delta of a Gaussian."""
    privacy = PrivacySettings(noise_multiplier=z, delta=delta)
    epsilon = compute_epsilon(privacy, 9, 9, num_rounds)["epsilon"]
    mu = 2 * math.sqrt(num_rounds) / z
    alpha = 1 + np.logspace(-1.9, 4, 20_000)
    grid = alpha * mu**2 / 2 + np.log1p(-1 / alpha) - np.log(delta * alpha) / (alpha - 1)
    assert max(grid.min() * 0.8 - 0.05, 0) <= epsilon <= max(grid.min(), 0) + 1e-6
    if epsilon < 300:  # beyond, the powers overflow
        exact = ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon) * ndtr(-mu / 2 - epsilon / mu)
        assert exact <= delta * (1 + 1e-6)


@given(st.floats(0.5, 20), st.integers(2, 40), st.integers(1, 200), st.data())
@settings(max_examples=6)
def test_epsilon_grows_with_rounds_and_sampling_and_falls_with_noise(
    z, num_clients, num_rounds, data
):
    num_sampled = data.draw(st.integers(1, num_clients - 1))

    def epsilon(z=z, num_sampled=num_sampled, num_rounds=num_rounds):
        privacy = PrivacySettings(noise_multiplier=z)
        return compute_epsilon(privacy, num_clients, num_sampled, num_rounds)["epsilon"]

    reference = epsilon()
    assert reference <= epsilon(num_rounds=2 * num_rounds)
    assert reference <= epsilon(num_sampled=num_sampled + 1)
    assert reference >= epsilon(z=1.5 * z)


@given(st.floats(0.4, 5), st.integers(1, 9), st.integers(-10, 10))
@settings(max_examples=12)
def test_epsilon_of_a_sample_covers_the_exact_delta_of_one_round(z, num_sampled, other):
    """Compare two federations in which one client's update has opposite signs.

    The other clients' updates are the same. Those of the sample that has another client in place
    of this one differ by ``other``.
    """
    privacy = PrivacySettings(noise_multiplier=z, delta=1e-3)
    epsilon = compute_epsilon(privacy, 10, num_sampled, 1)["epsilon"]
    q, x = num_sampled / 10, np.linspace(-1 - 12 * z, 1 + 12 * z, 200_001)

    def density(mean):
        return np.exp(-(((x - mean) / z) ** 2) / 2) / (z * math.sqrt(2 * math.pi))

    positive, negative = ((1 - q) * density(other / 10) + q * density(sign) for sign in (1, -1))
    exact = np.maximum(positive - math.exp(epsilon) * negative, 0).sum() * (x[1] - x[0])
    assert exact <= 1e-3
    assert epsilon <= compute_epsilon(privacy, 1, 1, 1)["epsilon"]


def test_epsilon_is_zero_before_the_first_round_and_large_with_little_noise():
    unspent = {"epsilon": 0.0, "delta": 1e-6}
    assert compute_epsilon(PrivacySettings(delta=1e-6), 8, 4, 0) == unspent
    large = compute_epsilon(PrivacySettings(noise_multiplier=1e-4), 8, 4, 100)["epsilon"]
    assert 1e8 < large < math.inf
