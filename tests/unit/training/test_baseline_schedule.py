from collections import Counter

from baseline_configs import build_baseline_config
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.config.training import TrainingSettings
from blossomtune.training import client_sampling, schedule
from blossomtune.training.baseline_schedule import Baseline

fractions = st.floats(0.05, 1)
row_counts = st.lists(st.integers(1, 30), min_size=1, max_size=6)
training_arguments = st.fixed_dictionaries(
    {"per_device_train_batch_size": st.integers(1, 4)},
    optional={"max_steps": st.integers(1, 5), "num_train_epochs": st.sampled_from([0.5, 1.0, 2.0])},
)


@settings(max_examples=40)
@given(row_counts, fractions, st.integers(1, 5), training_arguments)
def test_baselines_have_the_steps_and_rows_of_the_federation(
    row_counts, fraction, num_rounds, arguments
):
    config = build_baseline_config(
        {"arguments": arguments}, rounds=num_rounds, fraction_train=fraction
    )

    def schedule_rounds(name):
        return list(Baseline.from_name(name, config).iterate_rounds(row_counts))

    pooled = schedule_rounds("centralised")
    local = [schedule_rounds(f"local_{i}") for i in range(len(row_counts))]
    training = TrainingSettings.model_validate(config["training"])
    for index in range(num_rounds):
        number = index + 1
        sample = client_sampling.sample_clients(7, number, range(len(row_counts)), fraction)
        steps = [
            schedule.count_local_steps(training, n) if i in sample else 0
            for i, n in enumerate(row_counts)
        ]
        assert [rounds[index].steps for rounds in local] == steps
        assert pooled[index].steps == sum(steps)
        for scheduled in (pooled[index], *(rounds[index] for rounds in local)):
            learning_rate = schedule.compute_learning_rate(training, number, num_rounds)
            assert scheduled.learning_rate == learning_rate
            batch_size = arguments["per_device_train_batch_size"]
            assert len(scheduled.row_indices) == scheduled.steps * batch_size
        local_rows = [
            sum(row_counts[:i]) + row
            for i, rounds in enumerate(local)
            for row in rounds[index].row_indices
        ]
        # Equal rows also mean equal numbers of tokens.
        assert Counter(pooled[index].row_indices) == Counter(local_rows)


def test_local_baseline_has_the_order_of_rows_of_the_federation():
    config, row_counts = build_baseline_config(fraction_train=0.5, rounds=9), [20, 9, 14, 30]
    for client, num_rows in enumerate(row_counts):
        baseline = Baseline.from_name(f"local_{client}", config)
        for scheduled in baseline.iterate_rounds(row_counts):
            participated = sum(
                client in client_sampling.sample_clients(7, number, range(len(row_counts)), 0.5)
                for number in range(1, scheduled.round)
            )
            count = len(scheduled.row_indices)
            expected = schedule.select_examples(7, client, num_rows, 8 * participated, count)
            assert scheduled.row_indices == expected
