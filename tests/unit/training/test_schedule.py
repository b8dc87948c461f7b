import math

from hypothesis import given
from hypothesis import strategies as st

from blossomtune.config.training import TrainingSettings
from blossomtune.training import schedule

TRAINING = TrainingSettings(learning_rate_max=1e-3, learning_rate_min=1e-5)
seeds = st.integers(0, 2**32)


def test_learning_rate_falls_from_the_maximum_to_the_minimum():
    rates = [schedule.compute_learning_rate(TRAINING, r, 5) for r in range(1, 6)]
    assert rates[0] == 1e-3
    assert math.isclose(rates[-1], 1e-5)
    assert math.isclose(rates[2], (1e-3 + 1e-5) / 2)
    assert rates == sorted(rates, reverse=True)


def test_single_round_has_the_maximum_learning_rate():
    assert schedule.compute_learning_rate(TRAINING, 1, 1) == 1e-3


@given(seeds, st.integers(1, 60), st.lists(st.integers(1, 70), min_size=1, max_size=8))
def test_no_row_repeats_before_all_rows_were_selected(seed, num_rows, counts):
    indices = []
    for count in counts:  # rounds of any sizes
        indices += schedule.select_examples(seed, 3, num_rows, len(indices), count)
    assert len(indices) == sum(counts)
    for start in range(0, len(indices), num_rows):
        epoch = indices[start : start + num_rows]
        assert len(set(epoch)) == len(epoch)
    assert indices == schedule.select_examples(seed, 3, num_rows, 0, len(indices))


def test_order_of_rows_differs_between_clients_epochs_and_seeds():
    first = schedule.select_examples(1, 0, 50, 0, 50)
    assert first != schedule.select_examples(1, 1, 50, 0, 50)
    assert first != schedule.select_examples(1, 0, 50, 50, 50)
    assert first != schedule.select_examples(2, 0, 50, 0, 50)


def test_steps_are_max_steps_or_whole_local_epochs():
    def count(num_rows, **arguments):
        return schedule.count_local_steps(TrainingSettings(arguments=arguments), num_rows)

    assert count(1000, max_steps=7) == 7
    epochs = {"num_train_epochs": 2, "per_device_train_batch_size": 4}
    assert count(10, **epochs) == 5
    assert count(10, **epochs, gradient_accumulation_steps=2) == 3
    assert count(1, **epochs, gradient_accumulation_steps=2) == 1


@given(seeds, st.integers(0, 100), st.integers(1, 1000))
def test_training_seed_leaves_room_for_what_the_trainer_adds(seed, client, round_number):
    assert 0 <= schedule.derive_training_seed(seed, client, round_number) < 2**31
