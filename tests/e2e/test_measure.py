"""What is trained to see how much of a GPU a client needs; the looking itself takes a GPU."""

import pytest
from in_process import experiment

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
    e = experiment(arguments={"gradient_accumulation_steps": 2}, fraction_evaluate=1.0)
    config = e.model_dump(mode="json", include={"lora", "training", "federation"})
    files = {key: federation_files[key] for key in ("model", "preprocessed")}
    spec = build_spec(config | {"seed": 7}, **federation_files)
    return FederatedRun(spec=spec, paths=ClientPaths(**files, checkpoints=tmp_path))


def test_rows_are_the_longest_that_a_client_has(run, federation_files):
    def lengths(rows):
        return sorted(len(row["input_ids"]) for row in rows)

    most = [lengths(load_client_rows(federation_files["preprocessed"], i))[-3:] for i in range(3)]
    found = select_longest_rows(run, 3)
    assert lengths(found) == max(most, key=sum)
    assert choose_prefix_length(found.to_list()) == 0  # others may have nothing in common


def test_whole_steps_are_taken(run):
    seen = train_largest_batch(run).counts
    assert seen["steps"] == PROFILE_STEPS
    assert seen["examples"] == PROFILE_STEPS * 2 * 4  # batches of 4, two a step
    assert seen["tokens"] == PROFILE_STEPS * 2 * sum(
        len(r["input_ids"]) for r in select_longest_rows(run, 4)
    )
