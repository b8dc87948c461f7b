"""Tests of the errors and defaults of partitions."""

import pytest
from config_samples import RAW, get_errors_of_blocks

from blossomtune.config.load import load_configuration

PARTITIONS = [
    ({"partitioner": "shard"}, ": give one of num_shards_per_partition and shard_size"),
    ({"partitioner": "dirichlet", "alpha": 0}, ".alpha: 0 is not allowed; "
     "allowed: a number above 0, or a list of them"),
    ({"partitioner": "dirichlet", "alpha": [1, 2]},
     ": alpha has 2 entries, but num_partitions is 4"),
    ({"partitioner": "size", "partition_sizes": [1]},
     ": partition_sizes has 1 entries, but num_partitions is 4"),
    ({"partitioner": "iid", "validation_size": 0.5, "test_size": 0.5},
     ": validation_size and test_size together leave no rows to train on"),
    ({"partitioner": "local", "paths": {"a": "a.csv"}},
     ": paths has 1 entries, but num_partitions is 4"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), PARTITIONS)
def test_wrong_parameters_of_partitioners_are_rejected(changes, message):
    common = {"dataset": "vader-sentiment", "num_partitions": 4}
    if changes["partitioner"] not in ("size", "local", "iid"):
        common["column"] = "label"
    assert get_errors_of_blocks(partitions={"p": common | changes}) == [f"partitions.p{message}"]


def test_number_of_local_clients_is_that_of_the_paths():
    paths = {"ward-a": "a.csv", "ward-b": "b.csv"}
    partition = {"dataset": "vader-sentiment", "partitioner": "local", "paths": paths}
    loaded = load_configuration({**RAW, "partitions": RAW["partitions"] | {"wards": partition}})
    assert loaded.partitions["wards"].num_partitions == 2
