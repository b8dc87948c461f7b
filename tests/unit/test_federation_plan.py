import math

from hypothesis import given
from hypothesis import strategies as st

from blossomtune.config.training import TrainingSettings
from blossomtune.training import schedule

TRAINING = TrainingSettings(learning_rate_max=1e-3, learning_rate_min=1e-5)
seeds = st.integers(0, 2**32)


def test_learning_rate_goes_from_the_maximum_to_the_minimum():
    rates = [schedule.compute_learning_rate(TRAINING, r, 5) for r in range(1, 6)]
    assert rates[0] == 1e-3
    assert math.isclose(rates[-1], 1e-5)
    assert math.isclose(rates[2], (1e-3 + 1e-5) / 2)
    assert rates == sorted(rates, reverse=True)


def test_a_single_round_has_the_maximum():
    assert schedule.compute_learning_rate(TRAINING, 1, 1) == 1e-3


@given(seeds, st.integers(1, 50), st.integers(1, 40), st.floats(0.01, 1))
def test_a_sample_is_some_of_the_clients_each_once(seed, round_, clients, fraction):
    chosen = schedule.sample_clients(seed, round_, clients, fraction)
    assert chosen == sorted(set(chosen)) == schedule.sample_clients(seed, round_, clients, fraction)
    assert len(chosen) == max(1, round(fraction * clients))
    assert set(chosen) <= set(range(clients))


def test_rounds_sample_different_clients():
    assert len({tuple(schedule.sample_clients(1, r, 20, 0.2)) for r in range(1, 20)}) > 10


@given(seeds, st.integers(1, 60), st.lists(st.integers(1, 70), min_size=1, max_size=8))
def test_nothing_is_seen_twice_before_all_was_seen_once(seed, rows, counts):
    walk = []
    for count in counts:  # cut into rounds in any way
        walk += schedule.select_examples(seed, 3, rows, len(walk), count)
    assert len(walk) == sum(counts)
    for start in range(0, len(walk), rows):
        part = walk[start : start + rows]
        assert len(set(part)) == len(part)
    assert walk == schedule.select_examples(seed, 3, rows, 0, len(walk))


def test_clients_and_passes_have_orders_of_their_own():
    first = schedule.select_examples(1, 0, 50, 0, 50)
    assert first != schedule.select_examples(1, 1, 50, 0, 50)
    assert first != schedule.select_examples(1, 0, 50, 50, 50)
    assert first != schedule.select_examples(2, 0, 50, 0, 50)


@given(seeds, st.integers(2, 6), st.integers(1, 8))
def test_walked_counts_the_rounds_a_client_was_chosen_in(seed, clients, rounds):
    counted = sum(
        schedule.rounds_participated(seed, c, rounds + 1, clients, 0.5) for c in range(clients)
    )
    assert counted == rounds * max(1, round(0.5 * clients))


def test_steps_are_max_steps_or_whole_local_epochs():
    assert schedule.count_local_steps(TrainingSettings(arguments={"max_steps": 7}), 1000) == 7
    arguments = {"num_train_epochs": 2, "per_device_train_batch_size": 4}
    assert schedule.count_local_steps(TrainingSettings(arguments=arguments), 10) == 5
    arguments["gradient_accumulation_steps"] = 2
    assert schedule.count_local_steps(TrainingSettings(arguments=arguments), 10) == 3
    assert schedule.count_local_steps(TrainingSettings(arguments=arguments), 1) == 1
