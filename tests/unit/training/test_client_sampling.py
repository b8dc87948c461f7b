"""Tests of sampling clients."""

from hypothesis import given
from hypothesis import strategies as st

from blossomtune.training import client_sampling

seeds = st.integers(0, 2**32)


@given(seeds, st.integers(1, 50), st.integers(1, 40), st.floats(0.01, 1))
def test_sample_contains_a_fraction_of_the_clients_without_repetition(
    seed, round_number, num_clients, fraction
):
    arguments = (seed, round_number, range(num_clients), fraction)
    sample = client_sampling.sample_clients(*arguments)
    assert sample == sorted(set(sample)) == client_sampling.sample_clients(*arguments)
    assert len(sample) == max(1, round(fraction * num_clients))
    assert set(sample) <= set(range(num_clients))


def test_rounds_sample_different_clients():
    assert (
        len({tuple(client_sampling.sample_clients(1, r, range(20), 0.2)) for r in range(1, 20)})
        > 10
    )


@given(seeds, st.sets(st.integers(0, 30), min_size=1), st.floats(0.01, 1))
def test_only_given_clients_are_sampled(seed, clients, fraction):
    sample = client_sampling.sample_clients(seed, 1, sorted(clients), fraction)
    assert set(sample) <= clients
    assert len(sample) == max(1, round(fraction * len(clients)))
