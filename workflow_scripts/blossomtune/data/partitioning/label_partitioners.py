"""Partitioners by label.

Flower's partitioners see labels as codes from 0 to K - 1, in the order of the sorted labels.
Invalid settings are refused here first, with the configuration's keys. Rows are not shuffled: a
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

PartitionConfig = Mapping[str, Any]


def assign_dirichlet(config: PartitionConfig, column: pa.ChunkedArray) -> list[np.ndarray]:
    """Distribute each label's rows over the clients by a Dirichlet distribution (arXiv 1905.12022).

    Args:
        config: a partition's block and ``seed``.
        column: labels, shape (N,).

    Returns:
        Row indices per client.

    Raises:
        UserError: if a row has no label, or a client would get fewer than ``min_rows`` rows.
    """
    labels, min_rows = encode_required_labels(config, column), compute_min_client_rows(config)
    partitioner = flower.DirichletPartitioner(
        config["num_partitions"],
        VALUE_COLUMN,
        config["alpha"],
        min_partition_size=min_rows,
        self_balancing=config["self_balancing"],
        shuffle=False,
        seed=_derive_seed(config),
    )
    rows = f"{min_rows} row" + "s" * (min_rows > 1)
    return run_partitioner(
        partitioner,
        labels.codes,
        "alpha",
        f"{config['alpha']} left a client with fewer than {rows} in each of 11 attempts",
        "choose a higher alpha, fewer clients or a lower min_rows",
    )


def assign_inner_dirichlet(config: PartitionConfig, column: pa.ChunkedArray) -> list[np.ndarray]:
    """Draw each client's labels from a Dirichlet distribution (arXiv 2111.04263).

    Args:
        config: a partition's block and ``seed``.
        column: labels, shape (N,).

    Returns:
        Row indices per client.

    Raises:
        UserError: if a row has no label, or ``alpha`` or ``partition_sizes`` do not fit the labels.
    """
    labels, alpha = encode_required_labels(config, column), config["alpha"]
    if isinstance(alpha, list) and len(alpha) != len(labels.categories):
        raise UserError(
            f"alpha: {len(alpha)} numbers for {_describe_values(config, labels.categories)}"
        )
    partitioner = flower.InnerDirichletPartitioner(
        resolve_partition_sizes(config, len(column)),
        VALUE_COLUMN,
        alpha,
        shuffle=False,
        seed=_derive_seed(config),
    )
    problem = f"{alpha} leaves a client nothing to draw from once its labels are used up"
    return run_partitioner(partitioner, labels.codes, "alpha", problem, "choose a higher alpha")


def assign_distribution(config: PartitionConfig, column: pa.ChunkedArray) -> list[np.ndarray]:
    """Assign labels to clients in turn, in the proportions of a table (arXiv 1812.06127).

    Args:
        config: a partition's block and ``seed``.
        column: labels, shape (N,).

    Returns:
        Row indices per client.

    Raises:
        UserError: if a row has no label, or the table does not fit the labels.
    """
    labels, weights = encode_required_labels(config, column), config["distribution_array"]
    clients, per_client = config["num_partitions"], config["num_unique_labels_per_partition"]
    preassigned, count = config["preassigned_num_samples_per_label"], len(labels.categories)
    values = _describe_values(config, labels.categories)
    if clients % count:
        raise UserError(f"num_partitions: {clients} is no multiple of {values}")
    if per_client > count:
        raise UserError(f"num_unique_labels_per_partition: {per_client}, but there are {values}")
    if len(weights) != count:
        raise UserError(f"distribution_array: {len(weights)} lists for {values}")
    width = per_client * clients // count  # clients per label
    for i, label_weights in enumerate(weights):
        if len(label_weights) != width or not sum(label_weights) > 0:
            raise UserError(
                f"distribution_array[{i}]: {label_weights}, but label {labels.categories[i]!r} "
                f"goes to {width} clients and needs as many weights, not all of them 0",
                f"{clients} clients with {per_client} labels each, over {count} labels",
            )
    rows, min_rows = np.bincount(labels.codes), (preassigned + 1) * width
    if rows.min() < min_rows:
        raise UserError(
            f"preassigned_num_samples_per_label: {preassigned} takes at least {min_rows} rows "
            f"a label, but {labels.categories[rows.argmin()]!r} has {rows.min()}"
        )
    partitioner = flower.DistributionPartitioner(
        np.array(weights),
        clients,
        per_client,
        VALUE_COLUMN,
        preassigned,
        shuffle=False,
        seed=_derive_seed(config),
    )
    return run_partitioner(partitioner, labels.codes, "distribution_array")


def assign_pathological(config: PartitionConfig, column: pa.ChunkedArray) -> list[np.ndarray]:
    """Assign a fixed number of labels to each client (arXiv 2102.02079).

    Args:
        config: a partition's block and ``seed``.
        column: labels, shape (N,).

    Returns:
        Row indices per client.

    Raises:
        UserError: if a row or a label would remain without client.
    """
    labels, per_client = encode_required_labels(config, column), config["num_classes_per_partition"]
    if per_client > len(labels.categories):
        values = _describe_values(config, labels.categories)
        raise UserError(f"num_classes_per_partition: {per_client}, but there are {values}")
    clients, mode = config["num_partitions"], config["class_assignment_mode"]
    partitioner = flower.PathologicalPartitioner(
        clients, VALUE_COLUMN, per_client, mode, shuffle=False, seed=_derive_seed(config)
    )
    parts = run_partitioner(
        partitioner,
        labels.codes,
        "num_classes_per_partition",
        f"{per_client} for {clients} clients gives a label to more clients than it has rows",
        "use fewer clients or labels a client, or class_assignment_mode: deterministic",
    )
    unassigned = np.setdiff1d(labels.codes, labels.codes[np.concatenate(parts)])
    if len(unassigned):
        raise UserError(
            f"num_classes_per_partition: {per_client} for {clients} clients leaves labels to "
            f"nobody: {format_values([labels.categories[code] for code in unassigned])}",
            "raise it, or set class_assignment_mode: first-deterministic, which gives out every "
            "label where there are as many clients",
        )
    return parts


def assign_shards(config: PartitionConfig, column: pa.ChunkedArray) -> list[np.ndarray]:
    """Sort rows by label, cut them into shards and assign shards to clients (arXiv 1602.05629).

    Args:
        config: a partition's block and ``seed``.
        column: labels, shape (N,).

    Returns:
        Row indices per client.

    Raises:
        UserError: if a row has no label, or a client would get no shard.
    """
    labels, clients = encode_required_labels(config, column), config["num_partitions"]
    per_client, size = config["num_shards_per_partition"], config["shard_size"]
    num_rows, key = len(column), "shard_size" if per_client is None else "num_shards_per_partition"
    if (per_client or 1) * clients > (num_rows if size is None else -(-num_rows // size)):
        raise UserError(
            f"{key}: {config[key]} leaves some of {clients} clients without a shard of "
            f"the {num_rows} training rows"
        )
    partitioner = flower.ShardPartitioner(
        clients,
        VALUE_COLUMN,
        per_client,
        size,
        size is not None,
        shuffle=False,
        seed=_derive_seed(config),
    )
    parts = run_partitioner(partitioner, labels.codes, key)
    # shards of a fixed size leave a remainder, which is assigned row by row
    rest = np.setdiff1d(np.arange(num_rows), np.concatenate(parts))
    rest = rest[np.argsort(labels.codes[rest], kind="stable")]
    return [np.append(part, rest[i::clients]) for i, part in enumerate(parts)]


def resolve_partition_sizes(config: PartitionConfig, num_rows: int) -> list[int]:
    """Return the number of rows per client: ``partition_sizes``, or as even as possible.

    Args:
        config: a partition's block.
        num_rows: number of all rows.

    Returns:
        The sizes, which sum to ``num_rows``.

    Raises:
        UserError: if ``partition_sizes`` do not sum to ``num_rows``.
    """
    clients, sizes = config["num_partitions"], config["partition_sizes"]
    if sizes is None:
        return [num_rows // clients + (i < num_rows % clients) for i in range(clients)]
    if sum(sizes) != num_rows:
        raise UserError(
            f"partition_sizes: {sum(sizes)} rows, but there are {num_rows} training rows"
        )
    return list(sizes)


def _derive_seed(config: PartitionConfig) -> int:
    return derive_seed(config["seed"], f"{config['partitioner']} partition")


def _describe_values(config: PartitionConfig, values: list[Any]) -> str:
    return f"the {len(values)} values of column {config['column']!r}: {format_values(values)}"
