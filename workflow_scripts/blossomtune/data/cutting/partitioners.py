"""Who gets which rows, by Flower Datasets' partitioners."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from flwr_datasets import partitioner as flower

from blossomtune.data.cutting import by_label
from blossomtune.data.cutting.dealing import COLUMN, deal
from blossomtune.data.cutting.labels import distinct, some
from blossomtune.data.cutting.shares import check
from blossomtune.errors import UserError
from blossomtune.seeds import derive

_Config = Mapping[str, Any]
_Named = list[tuple[str, np.ndarray]]


def cut(config: _Config, rows: int, column: pa.ChunkedArray | None = None) -> _Named:
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
    if wanted > rows:
        raise UserError(f"num_partitions: {wanted} clients cannot share {rows} training rows")
    clients = [(client, np.sort(part)) for client, part in CUTS[name](config, rows, column)]
    dealt = np.bincount(np.concatenate([part for _, part in clients]), minlength=rows)
    if not (dealt == 1).all():
        raise RuntimeError(f"partitioner {name} deals rows out twice, or not at all")
    check([(client, len(part)) for client, part in clients], config)
    return clients


_BY_NUMBER = {
    "iid": flower.IidPartitioner,
    "linear": flower.LinearPartitioner,
    "square": flower.SquarePartitioner,
    "exponential": flower.ExponentialPartitioner,
}


def _by_number(config: _Config, rows: int, _: Any) -> list[np.ndarray]:
    """All rows shuffled, then dealt out in numbers that a client's own number decides."""
    name, clients = config["partitioner"], config["num_partitions"]
    return _shuffled(_BY_NUMBER[name](clients), config, rows)


def _by_size(config: _Config, rows: int, _: Any) -> list[np.ndarray]:
    sizes = by_label.sizes(config, rows)
    return _shuffled(flower.SizePartitioner(sizes), config, rows)


def _shuffled(partitioner: flower.Partitioner, config: _Config, rows: int) -> list[np.ndarray]:
    seed = derive(config["seed"], f"{config['partitioner']} partition")
    order = np.random.default_rng(seed).permutation(rows)
    clients = config["num_partitions"]
    problem = f"{clients} clients of {rows} training rows leave some without any"
    parts = deal(partitioner, order, "num_partitions", problem, "choose fewer clients")
    return [order[part] for part in parts]


def _natural_id(config: _Config, _: int, column: pa.ChunkedArray) -> _Named:
    ids, wanted = distinct(config, column), config["num_partitions"]
    if len(ids.values) != wanted:
        raise UserError(
            f"num_partitions: {wanted}, but column {config['column']!r} has {len(ids.values)} "
            f"values: {some(ids.values)}",
            f"set num_partitions: {len(ids.values)}, or choose another column",
        )
    parts = deal(flower.NaturalIdPartitioner(COLUMN), ids.codes, "column")
    return list(zip(map(str, ids.values), parts, strict=True))


def _grouped_natural_id(config: _Config, _: int, column: pa.ChunkedArray) -> _Named:
    ids, size, wanted = distinct(config, column), config["group_size"], config["num_partitions"]
    partitioner = flower.GroupedNaturalIdPartitioner(COLUMN, size, config["mode"], True)
    problem = f"{len(ids.values)} values of column {config['column']!r} cannot be grouped evenly"
    parts = deal(partitioner, ids.codes, "group_size", f"{size}, but {problem}", "change mode")
    if len(parts) != wanted:
        raise UserError(
            f"num_partitions: {wanted}, but {len(ids.values)} values of column "
            f"{config['column']!r} make {len(parts)} groups of {size}",
            f"set num_partitions: {len(parts)}, or another group_size",
        )
    members = [np.unique(ids.codes[part]) for part in parts]
    names = [some([ids.values[code] for code in codes], 3) for codes in members]
    return list(zip(names, parts, strict=True))


def _continuous(config: _Config, _: int, column: pa.ChunkedArray) -> list[np.ndarray]:
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
    seed = derive(config["seed"], "continuous partition")
    partitioner = flower.ContinuousPartitioner(clients, COLUMN, config["strictness"], False, seed)
    return deal(partitioner, values, "column")


def _numbered(function: Callable[..., Sequence[np.ndarray]]) -> Callable[..., _Named]:
    """Names for clients that have nothing but a number."""

    def named(config: _Config, rows: int, column: pa.ChunkedArray | None) -> _Named:
        return [(f"client {i}", part) for i, part in enumerate(function(config, rows, column))]

    return named


CUTS: dict[str, Callable[[_Config, int, pa.ChunkedArray | None], _Named]] = {
    **dict.fromkeys(_BY_NUMBER, _numbered(_by_number)),
    "size": _numbered(_by_size),
    "natural_id": _natural_id,
    "grouped_natural_id": _grouped_natural_id,
    "continuous": _numbered(_continuous),
    "dirichlet": _numbered(by_label.dirichlet),
    "inner_dirichlet": _numbered(by_label.inner_dirichlet),
    "distribution": _numbered(by_label.distribution),
    "pathological": _numbered(by_label.pathological),
    "shard": _numbered(by_label.shard),
}
"""The partitioners, by the name that the configuration gives them."""
