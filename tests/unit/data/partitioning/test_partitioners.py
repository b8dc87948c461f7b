"""Tests that hold for every partitioner."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import datasets
import numpy as np
import pyarrow as pa
import pytest
from flwr_datasets import partitioner as flower
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from blossomtune.config.partitions import AnyPartition
from blossomtune.data.partitioning.labels import encode_labels, jensen_shannon_distance
from blossomtune.data.partitioning.partitioners import (
    COLUMN_PARTITIONERS,
    SIZE_PARTITIONERS,
    assign_rows,
)
from blossomtune.errors import UserError
from blossomtune.seeds import derive_seed

PARTITIONERS = [*SIZE_PARTITIONERS, *COLUMN_PARTITIONERS]
ROWS = 120
NUMBERS = [i * 0.618 % 1 for i in range(ROWS)]
LABELS = [f"label {int(4 * n * n)}" for n in NUMBERS]

# example keys of each partitioner, besides dataset and column
EXAMPLES = {
    "iid": {"num_partitions": 7},
    "size": {"num_partitions": 3, "partition_sizes": [60, 50, 10]},
    "linear": {"num_partitions": 5},
    "square": {"num_partitions": 4},
    "exponential": {"num_partitions": 3},
    "natural_id": {"num_partitions": 4},
    "grouped_natural_id": {"num_partitions": 2, "group_size": 2},
    "dirichlet": {"num_partitions": 6, "alpha": 1.0},
    "inner_dirichlet": {"num_partitions": 6, "alpha": 1.0},
    "distribution": {
        "num_partitions": 4,
        "distribution_array": [[1, 2.5], [1, 1], [7, 2], [3, 3.3]],
        "num_unique_labels_per_partition": 2,
    },
    "continuous": {"num_partitions": 7, "strictness": 0.5},
    "pathological": {"num_partitions": 9, "num_classes_per_partition": 2},
    "shard": {"num_partitions": 7, "num_shards_per_partition": 2},
}
NO_COLUMN = {"iid", "size", "linear", "square", "exponential"}
DETERMINISTIC = {"natural_id", "grouped_natural_id"}


def make_config(name, seed=1, **keys):
    """Return a validated block with all defaults."""
    config = {"dataset": "d", "partitioner": name, **keys}
    config |= {} if name in NO_COLUMN else {"column": "c"}
    return TypeAdapter(AnyPartition).validate_python(config).model_dump(mode="json") | {
        "seed": seed
    }


def make_example(name, seed=1, **changes):
    """Return a partition's block and its column."""
    values = NUMBERS if name == "continuous" else LABELS
    column = None if name in NO_COLUMN else pa.chunked_array([values])
    return make_config(name, seed, **EXAMPLES[name] | changes), column


def to_lists(clients):
    return [(name, rows.tolist()) for name, rows in clients]


def assign(name, seed=1, **changes):
    config, column = make_example(name, seed, **changes)
    return to_lists(assign_rows(config, ROWS, column))


def test_partitioners_are_those_of_the_configuration():
    union = get_args(AnyPartition)[0]
    allowed = {get_args(b.model_fields["partitioner"].annotation)[0] for b in get_args(union)}
    assert set(PARTITIONERS) == allowed - {"local"} == set(EXAMPLES)


LABEL = st.sampled_from([st.sampled_from("abcde"), st.integers(-2, 2), st.booleans()])
ALPHA = st.floats(0.2, 50)


@st.composite
def draw_case(draw, name):
    """Draw a partitioner's block and a column of 30 to 90 rows."""
    if name == "continuous":
        values = st.integers(0, 9) if draw(st.booleans()) else st.floats(-1e6, 1e6)
    else:
        values = draw(LABEL)
    column = draw(st.lists(values, min_size=30, max_size=90))
    rows, kinds, clients = len(column), len(set(column)), draw(st.integers(1, 5))
    counts = draw(st.lists(st.integers(1, 9), min_size=clients, max_size=clients))
    sizes = [*counts[1:], rows - sum(counts[1:])]
    keys = {"num_partitions": clients}
    if name == "size":
        keys["partition_sizes"] = sizes
    elif name == "natural_id":
        keys["num_partitions"] = kinds
    elif name == "grouped_natural_id":
        size = draw(st.integers(1, kinds))
        keys = {"num_partitions": -(-kinds // size), "group_size": size}
    elif name == "dirichlet":
        keys |= {"alpha": draw(ALPHA), "self_balancing": draw(st.booleans())}
    elif name == "inner_dirichlet":
        keys |= {"alpha": draw(ALPHA), "partition_sizes": draw(st.sampled_from([None, sizes]))}
    elif name == "distribution":
        each, times = draw(st.integers(1, kinds)), draw(st.integers(1, 2))
        weights = st.lists(st.floats(0.1, 9), min_size=each * times, max_size=each * times)
        keys = {
            "num_partitions": kinds * times,
            "num_unique_labels_per_partition": each,
            "distribution_array": draw(st.lists(weights, min_size=kinds, max_size=kinds)),
        }
    elif name == "continuous":
        keys["strictness"] = draw(st.sampled_from([0, 0.3, 1]))
    elif name == "pathological":
        modes = ["random", "deterministic", "first-deterministic"]
        keys["num_classes_per_partition"] = draw(st.integers(1, kinds))
        keys["class_assignment_mode"] = draw(st.sampled_from(modes))
    elif name == "shard":
        key = draw(st.sampled_from(["num_shards_per_partition", "shard_size"]))
        keys[key] = draw(st.integers(1, 5))
    return make_config(name, draw(st.integers(0, 9)), **keys), pa.array(column)


@pytest.mark.parametrize("name", PARTITIONERS)
@settings(max_examples=12)
@given(data=st.data())
def test_each_row_is_assigned_to_one_client(name, data):
    config, column = data.draw(draw_case(name))
    rows, split = len(column), data.draw(st.integers(0, 30))
    try:
        clients = assign_rows(config, rows, pa.chunked_array([column]))
    except UserError:
        reject()  # not every draw is possible; hypothesis fails if too few are
    assert len(clients) == config["num_partitions"]
    assert all(len(part) and (np.diff(part) > 0).all() for _, part in clients)
    assert sorted(i for _, part in clients for i in part.tolist()) == list(range(rows))
    rechunked = pa.chunked_array([column[:split], column[split:]])
    assert to_lists(assign_rows(config, rows, rechunked)) == to_lists(clients)


@pytest.mark.parametrize("name", sorted(set(PARTITIONERS) - DETERMINISTIC))
def test_assignment_depends_on_the_seed(name):
    others = [assign(name, seed) for seed in range(4)]
    assert any(other != others[0] for other in others[1:])


@pytest.mark.parametrize("name", sorted(DETERMINISTIC))
def test_deterministic_partitioners_ignore_the_seed(name):
    assert assign(name, 1) == assign(name, 2)


def hash_assignments():
    return hashlib.sha256(repr([assign(name) for name in PARTITIONERS]).encode()).hexdigest()


def test_assignment_is_the_same_in_another_process():
    module = Path(__file__)
    code = f"import sys; sys.path.insert(0, {str(module.parent)!r}); import {module.stem} as t"
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", f"{code}; print(t.hash_assignments())"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == hash_assignments()


def make_flower_partitioner(name, config):
    """Return Flower's own partitioner with a config's parameters."""
    count, alpha, seed = config["num_partitions"], config.get("alpha"), {"shuffle": False}
    seed["seed"] = derive_seed(config["seed"], f"{name} partition")
    match name:
        case "iid" | "linear" | "square" | "exponential":
            return getattr(flower, f"{name.title()}Partitioner")(count)
        case "size":
            return flower.SizePartitioner(config["partition_sizes"])
        case "natural_id":
            return flower.NaturalIdPartitioner("c")
        case "grouped_natural_id":
            return flower.GroupedNaturalIdPartitioner("c", 2, sort_unique_ids=True)
        case "dirichlet":
            return flower.DirichletPartitioner(count, "c", alpha, min_partition_size=1, **seed)
        case "inner_dirichlet":
            return flower.InnerDirichletPartitioner([20] * 6, "c", alpha, **seed)
        case "distribution":
            table = np.array(config["distribution_array"])
            return flower.DistributionPartitioner(table, count, 2, "c", 0, **seed)
        case "continuous":
            return flower.ContinuousPartitioner(count, "c", config["strictness"], **seed)
        case "pathological":
            return flower.PathologicalPartitioner(count, "c", 2, "random", **seed)
        case "shard":
            shards, size = config["num_shards_per_partition"], config["shard_size"]
            keep = {"keep_incomplete_shard": size is not None}
            return flower.ShardPartitioner(count, "c", shards, size, **keep, **seed)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, {}) for name in PARTITIONERS if name != "shard"),
        ("continuous", {"strictness": 1}),
        ("shard", {"num_partitions": 6}),  # shards without remainder
        ("shard", {"num_shards_per_partition": None, "shard_size": 11}),
    ],
)
def test_assignment_equals_flowers(name, changes):
    config, column = make_example(name, **changes)
    values = [None] * ROWS if column is None else column.to_pylist()
    if name == "inner_dirichlet":  # Flower needs integer labels here
        values = encode_labels("c", "c", column.chunks).codes
    rows = datasets.Dataset.from_dict({"row": range(ROWS), "c": values})
    partitioner = make_flower_partitioner(name, config)
    partitioner.dataset = (
        rows.shuffle(derive_seed(1, f"{name} partition")) if name in NO_COLUMN else rows
    )
    count = partitioner.num_partitions
    theirs = [sorted(partitioner.load_partition(i)["row"]) for i in range(count)]
    assert [rows.tolist() for _, rows in assign_rows(config, ROWS, column)] == theirs


@settings(max_examples=10)
@given(rows=st.integers(1, 60), clients=st.integers(1, 12), seed=st.integers(0, 5))
def test_iid_sizes_differ_by_one_at_most(rows, clients, seed):
    config = make_config("iid", seed, num_partitions=clients)
    if clients > rows:
        with pytest.raises(UserError, match=f"{clients} clients cannot share {rows} training rows"):
            assign_rows(config, rows)
        return
    parts = [part for _, part in assign_rows(config, rows)]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_dirichlet_skew_falls_as_alpha_grows():
    labels = encode_labels("c", "c", [pa.array(LABELS)])
    total = labels.count_labels(np.arange(ROWS))

    def skew(alpha):
        config, column = make_example("dirichlet", num_partitions=3, alpha=alpha)
        assignments = [assign_rows(config | {"seed": seed}, ROWS, column) for seed in range(20)]
        return np.mean(
            [
                jensen_shannon_distance(labels.count_labels(rows), total)
                for c in assignments
                for _, rows in c
            ]
        )

    assert skew(0.1) > skew(1) + 0.1 > skew(100) + 0.2


def test_natural_id_clients_are_sorted():
    domains = pa.chunked_array([["web", "news", "web", "books"], ["news", "web"]])
    clients = assign_rows(make_config("natural_id", num_partitions=3), 6, domains)
    assert to_lists(clients) == [("books", [3]), ("news", [1, 4]), ("web", [0, 2, 5])]


def test_numeric_natural_ids_are_sorted_as_numbers():
    clients = assign_rows(
        make_config("natural_id", num_partitions=3), 4, pa.chunked_array([[10, 9, 10, 2]])
    )
    assert to_lists(clients) == [("2", [3]), ("9", [1]), ("10", [0, 2])]


def test_groups_are_named_by_their_first_values():
    users = pa.chunked_array([list("fabcdeg")])
    config = make_config("grouped_natural_id", num_partitions=2, group_size=5)
    names = ["a, b, c, …", "f, g"]
    assert to_lists(assign_rows(config, 7, users)) == list(
        zip(names, [[1, 2, 3, 4, 5], [0, 6]], strict=True)
    )


def test_equal_values_keep_the_order_of_the_data_set():
    config = make_config("continuous", num_partitions=2, strictness=1)
    times = [1.7e9 + 1, 1.7e9, 1.7e9 + 2, 1.7e9, 1.7e9 + 1, 1.7e9 + 1]  # equal in 32 bits
    assert to_lists(assign_rows(config, 6, pa.chunked_array([times]))) == [
        ("client 0", [0, 1, 3]),
        ("client 1", [2, 4, 5]),
    ]


def test_dirichlet_retries_until_each_client_has_min_rows():
    sizes = [len(rows) for _, rows in assign("dirichlet", alpha=0.5, min_rows=8)]
    assert min(sizes) >= 8
    assert min(len(rows) for _, rows in assign("dirichlet", alpha=0.5)) < 8


IMPOSSIBLE = [
    ("natural_id", {"num_partitions": 5}, "num_partitions: 5, but column 'c' has 4 values: label"),
    ("natural_id", {"num_partitions": 5}, "hint: set num_partitions: 4, or choose another"),
    (
        "grouped_natural_id",
        {"num_partitions": 3},
        "num_partitions: 3, but 4 values of column 'c' make 2 groups of 2",
    ),
    ("grouped_natural_id", {"group_size": 3, "mode": "strict"}, "group_size: 3, but 4 .* evenly"),
    ("size", {"partition_sizes": [60, 50, 11]}, "partition_sizes: 121 rows, but there are 120"),
    ("iid", {"min_rows": 18}, "min_rows: 18: too few rows: client 1 has 17, client 2 has 17"),
    ("linear", {"num_partitions": 50}, "num_partitions: 50 clients of 120 training rows leave"),
    ("exponential", {"num_partitions": 100}, "num_partitions: 100 clients of 120 training rows"),
]


@pytest.mark.parametrize(("name", "changes", "message"), IMPOSSIBLE)
def test_impossible_settings_are_rejected(name, changes, message):
    with pytest.raises(UserError, match=message):
        assign(name, **changes)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("natural_id", ["a", None, "b"], "column: 1 training rows have no 'c'"),
        ("natural_id", [1.0, float("nan"), 2.0], "column: 1 training rows have no 'c'"),
        ("natural_id", [["a"], ["b"], []], "column: values of column 'c' are list"),
        ("continuous", ["1", "2", "3"], "column: 'c' holds string, but .* needs numbers"),
        ("continuous", [1.0, None, 2.0], "column: 1 training rows have no finite number in 'c'"),
        ("continuous", [1.0, float("inf"), 2], "column: 1 training rows have no finite number"),
        ("continuous", [7, 7, 7], "column: 'c' is 7 in all training rows"),
    ],
)
def test_unsuitable_columns_are_rejected(name, values, message):
    config = make_config(name, **EXAMPLES[name] | {"num_partitions": 2})
    with pytest.raises(UserError, match=message):
        assign_rows(config, 3, pa.chunked_array([values]))


def test_incomplete_assignment_is_detected(monkeypatch):  # a future Flower could return one
    monkeypatch.setitem(SIZE_PARTITIONERS, "iid", lambda *_: [np.array([0, 1]), np.array([1])])
    with pytest.raises(RuntimeError, match="partitioner iid does not assign each row once"):
        assign_rows(make_config("iid", num_partitions=2), 3)
