"""Assignment of rows to clients by Flower Datasets' partitioners."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from flwr_datasets import partitioner as flower

from blossomtune.data.partitioning import label_partitioners
from blossomtune.data.partitioning.client_split import check_client_sizes
from blossomtune.data.partitioning.flower_datasets import VALUE_COLUMN, run_partitioner
from blossomtune.data.partitioning.label_partitioners import PartitionConfig
from blossomtune.data.partitioning.labels import encode_required_labels, format_values
from blossomtune.errors import UserError
from blossomtune.seeds import derive_seed


def assign_rows(
    config: PartitionConfig, num_rows: int, column: pa.ChunkedArray | None = None
) -> list[tuple[str, np.ndarray]]:
    """Assign each row to one client.

    Args:
        config: a partition's block and ``seed``.
        num_rows: N, the number of rows.
        column: the column to partition by, shape (N,); None for partitioners without a column.

    Returns:
        Name and ascending row indices per client. Each row occurs once.

    Raises:
        UserError: if the rows cannot be assigned as configured, or a client would have too few.
    """
    name, num_clients = config["partitioner"], config["num_partitions"]
    if num_clients > num_rows:
        raise UserError(
            f"num_partitions: {num_clients} clients cannot share {num_rows} training rows"
        )
    if name in SIZE_PARTITIONERS:
        parts = SIZE_PARTITIONERS[name](config, num_rows)
    else:
        parts = COLUMN_PARTITIONERS[name](config, column)
    if not (np.bincount(np.concatenate(parts), minlength=num_rows) == 1).all():
        raise RuntimeError(f"partitioner {name} does not assign each row once")
    names = _name_clients(config, parts, column)
    clients = [(client, np.sort(part)) for client, part in zip(names, parts, strict=True)]
    check_client_sizes([(client, len(part)) for client, part in clients], config)
    return clients


def _name_clients(
    config: PartitionConfig, parts: list[np.ndarray], column: pa.ChunkedArray | None
) -> list[str]:
    """Name clients by their values of a natural id column, or else by number."""
    if config["partitioner"] not in ("natural_id", "grouped_natural_id"):
        return [f"client {i}" for i in range(len(parts))]
    ids = encode_required_labels(config, column)
    values = ([ids.categories[code] for code in np.unique(ids.codes[part])] for part in parts)
    return [format_values(v, 3) for v in values]


_ID_TO_SIZE_PARTITIONERS = {
    "iid": flower.IidPartitioner,
    "linear": flower.LinearPartitioner,
    "square": flower.SquarePartitioner,
    "exponential": flower.ExponentialPartitioner,
}


def _assign_by_partition_id(config: PartitionConfig, num_rows: int) -> list[np.ndarray]:
    """Shuffle all rows, then assign them in sizes that depend on the client's index."""
    name, clients = config["partitioner"], config["num_partitions"]
    return _assign_shuffled(_ID_TO_SIZE_PARTITIONERS[name](clients), config, num_rows)


def _assign_by_size(config: PartitionConfig, num_rows: int) -> list[np.ndarray]:
    sizes = label_partitioners.resolve_partition_sizes(config, num_rows)
    return _assign_shuffled(flower.SizePartitioner(sizes), config, num_rows)


def _assign_shuffled(
    partitioner: flower.Partitioner, config: PartitionConfig, num_rows: int
) -> list[np.ndarray]:
    seed = derive_seed(config["seed"], f"{config['partitioner']} partition")
    order = np.random.default_rng(seed).permutation(num_rows)
    clients = config["num_partitions"]
    problem = f"{clients} clients of {num_rows} training rows leave some without any"
    parts = run_partitioner(partitioner, order, "num_partitions", problem, "choose fewer clients")
    return [order[part] for part in parts]


def _assign_natural_id(config: PartitionConfig, column: pa.ChunkedArray) -> list[np.ndarray]:
    ids, num_clients = encode_required_labels(config, column), config["num_partitions"]
    count = len(ids.categories)
    if count != num_clients:
        raise UserError(
            f"num_partitions: {num_clients}, but column {config['column']!r} has {count} "
            f"values: {format_values(ids.categories)}",
            f"set num_partitions: {count}, or choose another column",
        )
    return run_partitioner(flower.NaturalIdPartitioner(VALUE_COLUMN), ids.codes, "column")


def _assign_grouped_natural_id(
    config: PartitionConfig, column: pa.ChunkedArray
) -> list[np.ndarray]:
    ids, num_clients = encode_required_labels(config, column), config["num_partitions"]
    size, values = config["group_size"], f"{len(ids.categories)} values of column"
    partitioner = flower.GroupedNaturalIdPartitioner(VALUE_COLUMN, size, config["mode"], True)
    message = f"{size}, but {values} {config['column']!r} cannot be grouped evenly"
    parts = run_partitioner(partitioner, ids.codes, "group_size", message, "change mode")
    if len(parts) != num_clients:
        raise UserError(
            f"num_partitions: {num_clients}, but {values} {config['column']!r} make "
            f"{len(parts)} groups of {size}",
            f"set num_partitions: {len(parts)}, or another group_size",
        )
    return parts


def _assign_continuous(config: PartitionConfig, column: pa.ChunkedArray) -> list[np.ndarray]:
    name, clients, type_ = config["column"], config["num_partitions"], column.type
    is_ = pa.types
    if not (is_.is_integer(type_) or is_.is_floating(type_) or is_.is_decimal(type_)):
        raise UserError(
            f"column: {name!r} holds {type_}, but partitioner continuous needs numbers",
            "choose a column of numbers, or a partitioner for labels, such as dirichlet",
        )
    values = column.cast(pa.float64()).to_numpy()
    if missing := np.count_nonzero(~np.isfinite(values)):
        raise UserError(f"column: {missing} training rows have no finite number in {name!r}")
    if values.min() == values.max():
        raise UserError(f"column: {name!r} is {values[0]:g} in all training rows")
    if config["strictness"] == 1:  # Flower's sort is not stable
        return np.array_split(np.argsort(values, kind="stable"), clients)
    # Flower standardizes in 32 bits, which is too coarse for seconds since 1970
    values = (values - values.mean()) / values.std()
    seed = derive_seed(config["seed"], "continuous partition")
    partitioner = flower.ContinuousPartitioner(
        clients, VALUE_COLUMN, config["strictness"], False, seed
    )
    return run_partitioner(partitioner, values, "column")


SIZE_PARTITIONERS: dict[str, Callable[[PartitionConfig, int], list[np.ndarray]]] = {
    **dict.fromkeys(_ID_TO_SIZE_PARTITIONERS, _assign_by_partition_id),
    "size": _assign_by_size,
}
"""Partitioners without a column, called with config and number of rows."""

COLUMN_PARTITIONERS: dict[str, Callable[[PartitionConfig, pa.ChunkedArray], list[np.ndarray]]] = {
    "natural_id": _assign_natural_id,
    "grouped_natural_id": _assign_grouped_natural_id,
    "continuous": _assign_continuous,
    "dirichlet": label_partitioners.assign_dirichlet,
    "inner_dirichlet": label_partitioners.assign_inner_dirichlet,
    "distribution": label_partitioners.assign_distribution,
    "pathological": label_partitioners.assign_pathological,
    "shard": label_partitioners.assign_shards,
}
"""Partitioners by a column, called with config and the column."""
