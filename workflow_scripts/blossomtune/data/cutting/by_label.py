"""Who gets which rows, where labels decide.

Flower's partitioners see labels as the numbers 0 to K - 1, in the order of the sorted labels. What
they would refuse is refused here first, in the words of the configuration. They do not shuffle: a
client's rows stay in the order of the data set.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from flwr_datasets import partitioner as flower

from blossomtune.data.cutting.dealing import COLUMN, deal
from blossomtune.data.cutting.labels import distinct, some
from blossomtune.data.cutting.shares import least
from blossomtune.errors import UserError
from blossomtune.seeds import derive

_Config = Mapping[str, Any]


def dirichlet(config: _Config, _: int, column: pa.ChunkedArray) -> list[np.ndarray]:
    """Each label's rows shared out by a Dirichlet distribution (arXiv 1905.12022)."""
    labels, fewest = distinct(config, column), least(config)
    partitioner = flower.DirichletPartitioner(
        config["num_partitions"],
        COLUMN,
        config["alpha"],
        min_partition_size=fewest,
        self_balancing=config["self_balancing"],
        shuffle=False,
        seed=_seed(config),
    )
    rows = f"{fewest} row" + "s" * (fewest > 1)
    return deal(
        partitioner,
        labels.codes,
        "alpha",
        f"{config['alpha']} left a client with fewer than {rows} in each of 11 attempts",
        "choose a higher alpha, fewer clients or a lower min_rows",
    )


def inner_dirichlet(config: _Config, rows: int, column: pa.ChunkedArray) -> list[np.ndarray]:
    """Each client's labels drawn from a Dirichlet distribution (arXiv 2111.04263)."""
    labels, alpha = distinct(config, column), config["alpha"]
    if isinstance(alpha, list) and len(alpha) != len(labels.values):
        raise UserError(f"alpha: {len(alpha)} numbers for {_told(config, labels.values)}")
    partitioner = flower.InnerDirichletPartitioner(
        sizes(config, rows), COLUMN, alpha, shuffle=False, seed=_seed(config)
    )
    problem = f"{alpha} leaves a client nothing to draw from once its labels are used up"
    return deal(partitioner, labels.codes, "alpha", problem, "choose a higher alpha")


def distribution(config: _Config, _: int, column: pa.ChunkedArray) -> list[np.ndarray]:
    """Labels assigned in turn, in the numbers of a table (arXiv 1812.06127)."""
    labels, weights = distinct(config, column), config["distribution_array"]
    clients, each = config["num_partitions"], config["num_unique_labels_per_partition"]
    first, count = config["preassigned_num_samples_per_label"], len(labels.values)
    if clients % count:
        raise UserError(
            f"num_partitions: {clients} is no multiple of {_told(config, labels.values)}"
        )
    if each > count:
        raise UserError(
            f"num_unique_labels_per_partition: {each}, but there are {_told(config, labels.values)}"
        )
    if len(weights) != count:
        raise UserError(
            f"distribution_array: {len(weights)} lists for {_told(config, labels.values)}"
        )
    width = each * clients // count
    for i, of_label in enumerate(weights):
        if len(of_label) != width or not sum(of_label) > 0:
            raise UserError(
                f"distribution_array[{i}]: {of_label}, but label {labels.values[i]!r} goes to "
                f"{width} clients and needs as many weights, not all of them 0",
                f"{clients} clients with {each} labels each, over {count} labels",
            )
    rows = np.bincount(labels.codes)
    if rows.min() < (first + 1) * width:
        raise UserError(
            f"preassigned_num_samples_per_label: {first} takes at least {(first + 1) * width} rows "
            f"a label, but {labels.values[rows.argmin()]!r} has {rows.min()}"
        )
    partitioner = flower.DistributionPartitioner(
        np.array(weights), clients, each, COLUMN, first, shuffle=False, seed=_seed(config)
    )
    return deal(partitioner, labels.codes, "distribution_array")


def pathological(config: _Config, _: int, column: pa.ChunkedArray) -> list[np.ndarray]:
    """Few labels a client (arXiv 2102.02079)."""
    labels, each = distinct(config, column), config["num_classes_per_partition"]
    if each > len(labels.values):
        raise UserError(
            f"num_classes_per_partition: {each}, but there are {_told(config, labels.values)}"
        )
    clients, mode = config["num_partitions"], config["class_assignment_mode"]
    partitioner = flower.PathologicalPartitioner(
        clients, COLUMN, each, mode, shuffle=False, seed=_seed(config)
    )
    parts = deal(
        partitioner,
        labels.codes,
        "num_classes_per_partition",
        f"{each} for {clients} clients gives a label to more clients than it has rows",
        "use fewer clients or labels a client, or class_assignment_mode: deterministic",
    )
    nobody = np.setdiff1d(labels.codes, labels.codes[np.concatenate(parts)])
    if len(nobody):
        raise UserError(
            f"num_classes_per_partition: {each} for {clients} clients leaves labels to nobody: "
            f"{some([labels.values[code] for code in nobody])}",
            "raise it, or set class_assignment_mode: first-deterministic, which gives out every "
            "label where there are as many clients",
        )
    return parts


def shard(config: _Config, rows: int, column: pa.ChunkedArray) -> list[np.ndarray]:
    """Rows sorted by label, cut into shards, some shards a client (arXiv 1602.05629)."""
    labels, clients = distinct(config, column), config["num_partitions"]
    each, size = config["num_shards_per_partition"], config["shard_size"]
    key = "shard_size" if each is None else "num_shards_per_partition"
    if (each or 1) * clients > (rows if size is None else -(-rows // size)):
        raise UserError(
            f"{key}: {config[key]} leaves some of {clients} clients without a shard of "
            f"the {rows} training rows"
        )
    partitioner = flower.ShardPartitioner(
        clients, COLUMN, each, size, size is not None, shuffle=False, seed=_seed(config)
    )
    parts = deal(partitioner, labels.codes, key)
    # shards of one size leave rows over, which are dealt one by one
    left = np.setdiff1d(np.arange(rows), np.concatenate(parts))
    left = left[np.argsort(labels.codes[left], kind="stable")]
    return [np.append(part, left[i::clients]) for i, part in enumerate(parts)]


def sizes(config: _Config, rows: int) -> list[int]:
    """Rows of each client: ``partition_sizes``, or as even as they can be.

    Raises:
        UserError: where the sizes given are not those of all rows together.
    """
    given, clients = config["partition_sizes"], config["num_partitions"]
    if given is None:
        return [rows // clients + (i < rows % clients) for i in range(clients)]
    if sum(given) != rows:
        raise UserError(f"partition_sizes: {sum(given)} rows, but there are {rows} training rows")
    return given


def _seed(config: _Config) -> int:
    return derive(config["seed"], f"{config['partitioner']} partition")


def _told(config: _Config, values: list[Any]) -> str:
    return f"the {len(values)} values of column {config['column']!r}: {some(values)}"
