"""What each client keeps back for validation and for testing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from blossomtune.data.tables.splits import held, wanted_rows
from blossomtune.errors import UserError
from blossomtune.seeds import derive

PARTS = ("test", "validation")
"""In the order in which they are taken; the rest is trained on."""


def check(clients: Sequence[tuple[str, int]], config: Mapping[str, Any]) -> None:
    """Checks that each client has enough rows.

    Args:
        clients: name and number of rows of each.
        config: a partition's block.

    Raises:
        UserError: with the clients that have too few, and how many they have.
    """
    few = [f"{name} has {n}" for name, n in clients if _left(n, config) < config["min_rows"]]
    if few:
        kept = "".join(f", {p}_size: {config[f'{p}_size']}" for p in PARTS if config[f"{p}_size"])
        shown = ", ".join(few[:5]) + (f", … ({len(few)} clients)" if len(few) > 5 else "")
        raise UserError(
            f"min_rows: {config['min_rows']}{kept}: too few rows: {shown}",
            "use fewer clients, a more even partitioner, or smaller numbers for these keys",
        )


def least(config: Mapping[str, Any]) -> int:
    """Fewest rows of a client that leave it ``min_rows`` to train on."""
    sizes = [config[f"{part}_size"] for part in PARTS]
    shares = sum(size for size in sizes if size < 1)
    if shares >= 1:
        raise UserError("test_size and validation_size: together they leave no rows to train on")
    rows = int((config["min_rows"] + sum(size for size in sizes if size >= 1)) / (1 - shares))
    while _left(rows, config) < config["min_rows"]:
        rows += 1
    return rows


def split(
    rows: np.ndarray, codes: np.ndarray | None, config: Mapping[str, Any], client: int
) -> dict[str, np.ndarray]:
    """Shares a client's rows out.

    Args:
        rows: shape (N,), its rows in ascending order; as many as ``check`` asks for.
        codes: shape (N,), numbers for their labels, so that each part has labels in the same
            shares, as nearly as whole rows allow; None for plain sampling.
        config: a partition's block and ``seed``.
        client: its number.

    Returns:
        ``train`` and, where there are any, ``test`` and ``validation``: rows in ascending order.
    """
    parts, left = {}, np.arange(len(rows))
    for part in PARTS:
        if wanted := _taken(config[f"{part}_size"], len(rows)):
            groups = None if codes is None else codes[left]
            seed = derive(config["seed"], part, "client", client)
            mask = held(groups, len(left), wanted, seed)
            parts[part], left = rows[left[mask]], left[~mask]
    return {"train": rows[left], **parts}


def _left(rows: int, config: Mapping[str, Any]) -> int:
    return rows - sum(_taken(config[f"{part}_size"], rows) for part in PARTS)


def _taken(size: int | float, rows: int) -> int:
    return wanted_rows(size, rows) if size else 0
