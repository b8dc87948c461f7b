"""Who gets which rows, by Flower Datasets' partitioners."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from flwr_datasets import partitioner as flower

from blossomtune.data.partitioning import label_partitioners
from blossomtune.data.partitioning.client_split import check_client_sizes
from blossomtune.data.partitioning.flower_datasets import VALUE_COLUMN, run_partitioner
from blossomtune.data.partitioning.labels import encode_required_labels, format_values
from blossomtune.errors import UserError
from blossomtune.seeds import derive_seed

_PartitionConfig = Mapping[str, Any]
_NamedPartitions = list[tuple[str, np.ndarray]]


def assign_rows(
    config: _PartitionConfig, num_rows: int, column: pa.ChunkedArray | None = None
) -> _NamedPartitions:
    """Deals rows out.

    Args:
        config: a partition's block and ``seed``.
        rows: N, how many there are.
        column: shape (N,), values of the column that decides; None for partitioners without one.

    Returns:
        Each client's name and its row numbers in ascending order: together all N, each once.

    Raises:
        UserError: where these clients cannot be made, or one would have too few rows.
    """
    name, wanted = config["partitioner"], config["num_partitions"]
    if wanted > num_rows:
        raise UserError(f"num_partitions: {wanted} clients cannot share {num_rows} training rows")
    clients = [
        (client, np.sort(part)) for client, part in PARTITIONERS[name](config, num_rows, column)
    ]
    dealt = np.bincount(np.concatenate([part for _, part in clients]), minlength=num_rows)
    if not (dealt == 1).all():
        raise RuntimeError(f"partitioner {name} deals rows out twice, or not at all")
    check_client_sizes([(client, len(part)) for client, part in clients], config)
    return clients


_ID_TO_SIZE_PARTITIONERS = {
    "iid": flower.IidPartitioner,
    "linear": flower.LinearPartitioner,
    "square": flower.SquarePartitioner,
    "exponential": flower.ExponentialPartitioner,
}


def _assign_by_partition_id(config: _PartitionConfig, num_rows: int, _: Any) -> list[np.ndarray]:
    """All rows shuffled, then dealt out in numbers that a client's own number decides."""
    name, clients = config["partitioner"], config["num_partitions"]
    return _assign_shuffled(_ID_TO_SIZE_PARTITIONERS[name](clients), config, num_rows)


def _assign_by_size(config: _PartitionConfig, num_rows: int, _: Any) -> list[np.ndarray]:
    sizes = label_partitioners.resolve_partition_sizes(config, num_rows)
    return _assign_shuffled(flower.SizePartitioner(sizes), config, num_rows)


def _assign_shuffled(
    partitioner: flower.Partitioner, config: _PartitionConfig, num_rows: int
) -> list[np.ndarray]:
    seed = derive_seed(config["seed"], f"{config['partitioner']} partition")
    order = np.random.default_rng(seed).permutation(num_rows)
    clients = config["num_partitions"]
    problem = f"{clients} clients of {num_rows} training rows leave some without any"
    parts = run_partitioner(partitioner, order, "num_partitions", problem, "choose fewer clients")
    return [order[part] for part in parts]


def _assign_natural_id(
    config: _PartitionConfig, _: int, column: pa.ChunkedArray
) -> _NamedPartitions:
    ids, wanted = encode_required_labels(config, column), config["num_partitions"]
    if len(ids.categories) != wanted:
        raise UserError(
            f"num_partitions: {wanted}, but column {config['column']!r} has {len(ids.categories)} "
            f"values: {format_values(ids.categories)}",
            f"set num_partitions: {len(ids.categories)}, or choose another column",
        )
    parts = run_partitioner(flower.NaturalIdPartitioner(VALUE_COLUMN), ids.codes, "column")
    return list(zip(map(str, ids.categories), parts, strict=True))


def _assign_grouped_natural_id(
    config: _PartitionConfig, _: int, column: pa.ChunkedArray
) -> _NamedPartitions:
    ids, size, wanted = (
        encode_required_labels(config, column),
        config["group_size"],
        config["num_partitions"],
    )
    partitioner = flower.GroupedNaturalIdPartitioner(VALUE_COLUMN, size, config["mode"], True)
    problem = (
        f"{len(ids.categories)} values of column {config['column']!r} cannot be grouped evenly"
    )
    parts = run_partitioner(
        partitioner, ids.codes, "group_size", f"{size}, but {problem}", "change mode"
    )
    if len(parts) != wanted:
        raise UserError(
            f"num_partitions: {wanted}, but {len(ids.categories)} values of column "
            f"{config['column']!r} make {len(parts)} groups of {size}",
            f"set num_partitions: {len(parts)}, or another group_size",
        )
    members = [np.unique(ids.codes[part]) for part in parts]
    names = [format_values([ids.categories[code] for code in codes], 3) for codes in members]
    return list(zip(names, parts, strict=True))


def _assign_continuous(
    config: _PartitionConfig, _: int, column: pa.ChunkedArray
) -> list[np.ndarray]:
    name, clients, kind = config["column"], config["num_partitions"], column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise UserError(
            f"column: {name!r} holds {kind}, but partitioner continuous needs numbers",
            "choose a column of numbers, or a partitioner for labels, such as dirichlet",
        )
    values = column.cast(pa.float64()).to_numpy()
    if missing := np.count_nonzero(~np.isfinite(values)):
        raise UserError(f"column: {missing} training rows have no finite number in {name!r}")
    if values.min() == values.max():
        raise UserError(f"column: {name!r} is {values[0]:g} in all training rows")
    if config["strictness"] == 1:  # Flower's sort leaves open in which order equal values come
        return np.array_split(np.argsort(values, kind="stable"), clients)
    # Flower standardises, too, but in 32 bits: too coarse for seconds since 1970
    values = (values - values.mean()) / values.std()
    seed = derive_seed(config["seed"], "continuous partition")
    partitioner = flower.ContinuousPartitioner(
        clients, VALUE_COLUMN, config["strictness"], False, seed
    )
    return run_partitioner(partitioner, values, "column")


def _add_client_names(
    assign: Callable[..., Sequence[np.ndarray]],
) -> Callable[..., _NamedPartitions]:
    """Names for clients that have nothing but a number."""

    def named(
        config: _PartitionConfig, rows: int, column: pa.ChunkedArray | None
    ) -> _NamedPartitions:
        return [(f"client {i}", part) for i, part in enumerate(assign(config, rows, column))]

    return named


PARTITIONERS: dict[
    str, Callable[[_PartitionConfig, int, pa.ChunkedArray | None], _NamedPartitions]
] = {
    **dict.fromkeys(_ID_TO_SIZE_PARTITIONERS, _add_client_names(_assign_by_partition_id)),
    "size": _add_client_names(_assign_by_size),
    "natural_id": _assign_natural_id,
    "grouped_natural_id": _assign_grouped_natural_id,
    "continuous": _add_client_names(_assign_continuous),
    "dirichlet": _add_client_names(label_partitioners.assign_dirichlet),
    "inner_dirichlet": _add_client_names(label_partitioners.assign_inner_dirichlet),
    "distribution": _add_client_names(label_partitioners.assign_distribution),
    "pathological": _add_client_names(label_partitioners.assign_pathological),
    "shard": _add_client_names(label_partitioners.assign_shards),
}
"""The partitioners, by the name that the configuration gives them."""
