"""What is trained to see how much of a GPU a client needs; the looking itself takes a GPU."""

import pytest
from in_process import experiment

from blossomtune.federation.job import describe
from blossomtune.federation.worker import rows_of
from blossomtune.launch.measure import STEPS, heaviest, longest
from blossomtune.sharing import beginning


@pytest.fixture
def job(federation_files, tmp_path):
    e = experiment(arguments={"gradient_accumulation_steps": 2}, fraction_evaluate=1.0)
    config = e.model_dump(mode="json", include={"lora", "training", "federation"})
    places = dict.fromkeys(("adapter", "history", "checkpoints"), tmp_path)
    return describe(config | {"seed": 7}, **federation_files, **places)


def test_rows_are_the_longest_that_a_client_has(job, federation_files):
    def lengths(rows):
        return sorted(len(row["input_ids"]) for row in rows)

    most = [lengths(rows_of(federation_files["preprocessed"], i))[-3:] for i in range(3)]
    found = longest(job, 3)
    assert lengths(found) == max(most, key=sum)
    assert beginning(found.to_list()) == 0  # others may have nothing in common


def test_whole_steps_are_taken(job):
    seen = heaviest(job).seen
    assert seen["steps"] == STEPS
    assert seen["examples"] == STEPS * 2 * 4  # batches of 4, two a step
    assert seen["tokens"] == STEPS * 2 * sum(len(r["input_ids"]) for r in longest(job, 4))
