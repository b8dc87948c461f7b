"""Tests of partitioners by label."""

import numpy as np
import pyarrow as pa
import pytest

from blossomtune.data.partitioning import label_partitioners
from blossomtune.data.partitioning.partitioners import assign_rows
from blossomtune.errors import UserError

LABELS = ["b", "a", "a", "b", "c", "a", "b", "a", "a", "c"]
VALUES = "the 3 values of column 'label': a, b, c"
BLOCKS = {
    "dirichlet": {"alpha": 1.0, "self_balancing": False},
    "inner_dirichlet": {"alpha": 1.0, "partition_sizes": None},
    "distribution": {
        "distribution_array": [[1.0], [1.0], [1.0]],
        "num_unique_labels_per_partition": 1,
        "preassigned_num_samples_per_label": 0,
    },
    "pathological": {"num_classes_per_partition": 1, "class_assignment_mode": "random"},
    "shard": {"num_shards_per_partition": 1, "shard_size": None},
}


def assign(name, clients=3, labels=LABELS, **changes):
    config = {"partitioner": name, "num_partitions": clients, "column": "label", "seed": 1}
    config |= {"min_rows": 1, "validation_size": 0, "test_size": 0}
    parts = assign_rows(
        {**config, **BLOCKS[name], **changes}, len(labels), pa.chunked_array([labels])
    )
    return [rows.tolist() for _, rows in parts]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("dirichlet", {"min_rows": 4}, r"alpha: 1.0 left a client with fewer than 4 rows in each"),
        ("dirichlet", {"min_rows": 4}, "hint: choose a higher alpha, fewer clients or a lower min"),
        (
            "dirichlet",
            {"clients": 4, "alpha": 1e-300},
            "alpha: 1e-300 left a client with fewer than 1 row in",
        ),
        ("inner_dirichlet", {"alpha": [1.0, 2.0]}, f"alpha: 2 numbers for {VALUES}"),
        ("inner_dirichlet", {"alpha": 1e-300}, "alpha: 1e-300 leaves a client nothing to draw"),
        ("inner_dirichlet", {"partition_sizes": [3, 3, 3]}, "partition_sizes: 9 rows, but .* 10"),
        ("distribution", {"clients": 4}, f"num_partitions: 4 is no multiple of {VALUES}"),
        (
            "distribution",
            {"num_unique_labels_per_partition": 4},
            f"num_unique_labels_per_partition: 4, but there are {VALUES}",
        ),
        ("distribution", {"distribution_array": [[1.0]]}, f"array: 1 lists for {VALUES}"),
        (
            "distribution",
            {"distribution_array": [[1.0], [1.0, 2.0], [1.0]]},
            r"distribution_array\[1\]: \[1.0, 2.0\], but label 'b' goes to 1 clients and needs",
        ),
        ("distribution", {"distribution_array": [[1.0], [1.0], [0.0]]}, r"array\[2\]: \[0.0\]"),
        (
            "distribution",
            {"preassigned_num_samples_per_label": 2},
            "preassigned_num_samples_per_label: 2 takes at least 3 rows a label, but 'c' has 2",
        ),
        (
            "pathological",
            {"num_classes_per_partition": 4},
            f"num_classes_per_partition: 4, but there are {VALUES}",
        ),
        (
            "pathological",
            {"clients": 2},
            "num_classes_per_partition: 1 for 2 clients leaves labels to nobody: c\n",
        ),
        (
            "pathological",
            {"clients": 9, "class_assignment_mode": "deterministic"},
            "num_classes_per_partition: 1 for 9 clients gives a label to more clients than it has",
        ),
        (
            "shard",
            {"num_shards_per_partition": 4},
            "num_shards_per_partition: 4 leaves some of 3 clients without a shard of the 10",
        ),
        (
            "shard",
            {"num_shards_per_partition": None, "shard_size": 5},
            "shard_size: 5 leaves some of 3 clients without a shard of the 10 training rows",
        ),
    ],
)
def test_impossible_settings_are_rejected(name, changes, message):
    with pytest.raises(UserError, match=message):
        assign(name, **changes)


def test_first_deterministic_assigns_every_label():
    parts = assign("pathological", class_assignment_mode="first-deterministic")
    assert [{LABELS[i] for i in part} for part in parts] == [{"a"}, {"b"}, {"c"}]


def test_rows_left_over_by_shards_are_assigned_evenly():
    parts = assign("shard", num_shards_per_partition=2)  # six shards of one row leave four rows
    assert sorted(map(len, parts)) == [3, 3, 4]


def test_distribution_follows_its_weights():
    labels = ["x"] * 40 + ["y"] * 60
    weights = {"distribution_array": [[3.0, 1.0], [1.0, 2.0]]}
    parts = assign("distribution", clients=4, labels=labels, **weights)
    assert [(labels[part[0]], len(part)) for part in parts] == [
        ("x", 30),
        ("y", 20),
        ("x", 10),
        ("y", 40),
    ]


def test_default_sizes_are_as_even_as_possible():
    config = {"partition_sizes": None, "num_partitions": 3}
    assert label_partitioners.resolve_partition_sizes(config, 11) == [4, 4, 3]


def test_dirichlet_leaves_enough_training_rows():
    labels = list(np.arange(200) % 4)
    parts = assign("dirichlet", labels=labels, min_rows=10, validation_size=0.5, test_size=4)
    assert min(map(len, parts)) >= 28
