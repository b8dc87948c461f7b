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

from blossomtune.data.partitioning.client_split import compute_min_client_rows
from blossomtune.data.partitioning.flower_datasets import VALUE_COLUMN, run_partitioner
from blossomtune.data.partitioning.labels import encode_required_labels, format_values
from blossomtune.errors import UserError
from blossomtune.seeds import derive_seed

_PartitionConfig = Mapping[str, Any]


def assign_dirichlet(config: _PartitionConfig, _: int, column: pa.ChunkedArray) -> list[np.ndarray]:
    """Each label's rows shared out by a Dirichlet distribution (arXiv 1905.12022)."""
    labels, fewest = encode_required_labels(config, column), compute_min_client_rows(config)
    partitioner = flower.DirichletPartitioner(
        config["num_partitions"],
        VALUE_COLUMN,
        config["alpha"],
        min_partition_size=fewest,
        self_balancing=config["self_balancing"],
        shuffle=False,
        seed=_derive_seed(config),
    )
    rows = f"{fewest} row" + "s" * (fewest > 1)
    return run_partitioner(
        partitioner,
        labels.codes,
        "alpha",
        f"{config['alpha']} left a client with fewer than {rows} in each of 11 attempts",
        "choose a higher alpha, fewer clients or a lower min_rows",
    )


def assign_inner_dirichlet(
    config: _PartitionConfig, num_rows: int, column: pa.ChunkedArray
) -> list[np.ndarray]:
    """Each client's labels drawn from a Dirichlet distribution (arXiv 2111.04263)."""
    labels, alpha = encode_required_labels(config, column), config["alpha"]
    if isinstance(alpha, list) and len(alpha) != len(labels.categories):
        raise UserError(
            f"alpha: {len(alpha)} numbers for {_describe_values(config, labels.categories)}"
        )
    partitioner = flower.InnerDirichletPartitioner(
        resolve_partition_sizes(config, num_rows),
        VALUE_COLUMN,
        alpha,
        shuffle=False,
        seed=_derive_seed(config),
    )
    problem = f"{alpha} leaves a client nothing to draw from once its labels are used up"
    return run_partitioner(partitioner, labels.codes, "alpha", problem, "choose a higher alpha")


def assign_distribution(
    config: _PartitionConfig, _: int, column: pa.ChunkedArray
) -> list[np.ndarray]:
    """Labels assigned in turn, in the numbers of a table (arXiv 1812.06127)."""
    labels, weights = encode_required_labels(config, column), config["distribution_array"]
    clients, each = config["num_partitions"], config["num_unique_labels_per_partition"]
    first, count = config["preassigned_num_samples_per_label"], len(labels.categories)
    if clients % count:
        raise UserError(
            f"num_partitions: {clients} is no multiple of {_describe_values(config, labels.categories)}"
        )
    if each > count:
        raise UserError(
            f"num_unique_labels_per_partition: {each}, but there are {_describe_values(config, labels.categories)}"
        )
    if len(weights) != count:
        raise UserError(
            f"distribution_array: {len(weights)} lists for {_describe_values(config, labels.categories)}"
        )
    width = each * clients // count
    for i, of_label in enumerate(weights):
        if len(of_label) != width or not sum(of_label) > 0:
            raise UserError(
                f"distribution_array[{i}]: {of_label}, but label {labels.categories[i]!r} goes to "
                f"{width} clients and needs as many weights, not all of them 0",
                f"{clients} clients with {each} labels each, over {count} labels",
            )
    rows = np.bincount(labels.codes)
    if rows.min() < (first + 1) * width:
        raise UserError(
            f"preassigned_num_samples_per_label: {first} takes at least {(first + 1) * width} rows "
            f"a label, but {labels.categories[rows.argmin()]!r} has {rows.min()}"
        )
    partitioner = flower.DistributionPartitioner(
        np.array(weights),
        clients,
        each,
        VALUE_COLUMN,
        first,
        shuffle=False,
        seed=_derive_seed(config),
    )
    return run_partitioner(partitioner, labels.codes, "distribution_array")


def assign_pathological(
    config: _PartitionConfig, _: int, column: pa.ChunkedArray
) -> list[np.ndarray]:
    """Few labels a client (arXiv 2102.02079)."""
    labels, each = encode_required_labels(config, column), config["num_classes_per_partition"]
    if each > len(labels.categories):
        raise UserError(
            f"num_classes_per_partition: {each}, but there are {_describe_values(config, labels.categories)}"
        )
    clients, mode = config["num_partitions"], config["class_assignment_mode"]
    partitioner = flower.PathologicalPartitioner(
        clients, VALUE_COLUMN, each, mode, shuffle=False, seed=_derive_seed(config)
    )
    parts = run_partitioner(
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
            f"{format_values([labels.categories[code] for code in nobody])}",
            "raise it, or set class_assignment_mode: first-deterministic, which gives out every "
            "label where there are as many clients",
        )
    return parts


def assign_shards(
    config: _PartitionConfig, num_rows: int, column: pa.ChunkedArray
) -> list[np.ndarray]:
    """Rows sorted by label, cut into shards, some shards a client (arXiv 1602.05629)."""
    labels, clients = encode_required_labels(config, column), config["num_partitions"]
    each, size = config["num_shards_per_partition"], config["shard_size"]
    key = "shard_size" if each is None else "num_shards_per_partition"
    if (each or 1) * clients > (num_rows if size is None else -(-num_rows // size)):
        raise UserError(
            f"{key}: {config[key]} leaves some of {clients} clients without a shard of "
            f"the {num_rows} training rows"
        )
    partitioner = flower.ShardPartitioner(
        clients,
        VALUE_COLUMN,
        each,
        size,
        size is not None,
        shuffle=False,
        seed=_derive_seed(config),
    )
    parts = run_partitioner(partitioner, labels.codes, key)
    # shards of one size leave rows over, which are dealt one by one
    left = np.setdiff1d(np.arange(num_rows), np.concatenate(parts))
    left = left[np.argsort(labels.codes[left], kind="stable")]
    return [np.append(part, left[i::clients]) for i, part in enumerate(parts)]


def resolve_partition_sizes(config: _PartitionConfig, num_rows: int) -> list[int]:
    """Rows of each client: ``partition_sizes``, or as even as they can be.

    Raises:
        UserError: where the sizes given are not those of all rows together.
    """
    given, clients = config["partition_sizes"], config["num_partitions"]
    if given is None:
        return [num_rows // clients + (i < num_rows % clients) for i in range(clients)]
    if sum(given) != num_rows:
        raise UserError(
            f"partition_sizes: {sum(given)} rows, but there are {num_rows} training rows"
        )
    return given


def _derive_seed(config: _PartitionConfig) -> int:
    return derive_seed(config["seed"], f"{config['partitioner']} partition")


def _describe_values(config: _PartitionConfig, values: list[Any]) -> str:
    return f"the {len(values)} values of column {config['column']!r}: {format_values(values)}"
