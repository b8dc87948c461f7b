"""The rows and steps that profile a client's GPU memory; the measurement itself needs a GPU."""

import pytest
from local_grid import build_experiment

from blossomtune.deployment.profile_memory import (
    PROFILE_STEPS,
    select_longest_rows,
    train_largest_batch,
)
from blossomtune.federation.build_spec import build_spec
from blossomtune.federation.client.worker import load_client_rows
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.run import FederatedRun
from blossomtune.modeling.prefix_sharing import choose_prefix_length


@pytest.fixture
def run(federation_files, tmp_path):
    arguments = {"gradient_accumulation_steps": 2}
    experiment = build_experiment(arguments=arguments, fraction_evaluate=1.0)
    config = experiment.model_dump(mode="json", include={"lora", "training", "federation"})
    files = {key: federation_files[key] for key in ("model", "preprocessed")}
    spec = build_spec(config | {"seed": 7}, **federation_files)
    return FederatedRun(spec=spec, paths=ClientPaths(**files, checkpoints=tmp_path))


def test_longest_rows_of_a_client_are_selected(run, federation_files):
    def sort_lengths(rows):
        return sorted(len(row["input_ids"]) for row in rows)

    clients = [load_client_rows(federation_files["preprocessed"], i) for i in range(3)]
    longest = [sort_lengths(rows)[-3:] for rows in clients]
    selected = select_longest_rows(run, 3)
    assert sort_lengths(selected) == max(longest, key=sum)
    assert choose_prefix_length(selected.to_list()) == 0  # other rows may share no prefix


def test_profile_trains_whole_optimizer_steps(run):
    counts = train_largest_batch(run).counts
    assert counts["steps"] == PROFILE_STEPS
    assert counts["examples"] == PROFILE_STEPS * 2 * 4  # two batches of 4 per step
    assert counts["tokens"] == PROFILE_STEPS * 2 * sum(
        len(r["input_ids"]) for r in select_longest_rows(run, 4)
    )
