"""What each client keeps back for validation and for testing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from blossomtune.data.preparation.test_split import resolve_num_rows, sample_row_mask
from blossomtune.errors import UserError
from blossomtune.seeds import derive_seed

HELD_OUT_SPLITS = ("test", "validation")
"""In the order in which they are taken; the rest is trained on."""


def check_client_sizes(client_sizes: Sequence[tuple[str, int]], config: Mapping[str, Any]) -> None:
    """Checks that each client has enough rows.

    Args:
        clients: name and number of rows of each.
        config: a partition's block.

    Raises:
        UserError: with the clients that have too few, and how many they have.
    """
    few = [
        f"{name} has {n}"
        for name, n in client_sizes
        if _count_train_rows(n, config) < config["min_rows"]
    ]
    if few:
        kept = "".join(
            f", {p}_size: {config[f'{p}_size']}" for p in HELD_OUT_SPLITS if config[f"{p}_size"]
        )
        shown = ", ".join(few[:5]) + (f", … ({len(few)} clients)" if len(few) > 5 else "")
        raise UserError(
            f"min_rows: {config['min_rows']}{kept}: too few rows: {shown}",
            "use fewer clients, a more even partitioner, or smaller numbers for these keys",
        )


def compute_min_client_rows(config: Mapping[str, Any]) -> int:
    """Fewest rows of a client that leave it ``min_rows`` to train on."""
    sizes = [config[f"{part}_size"] for part in HELD_OUT_SPLITS]
    shares = sum(size for size in sizes if size < 1)
    if shares >= 1:
        raise UserError("test_size and validation_size: together they leave no rows to train on")
    rows = int((config["min_rows"] + sum(size for size in sizes if size >= 1)) / (1 - shares))
    while _count_train_rows(rows, config) < config["min_rows"]:
        rows += 1
    return rows


def split_client_rows(
    row_indices: np.ndarray,
    label_codes: np.ndarray | None,
    config: Mapping[str, Any],
    client_index: int,
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
    parts, left = {}, np.arange(len(row_indices))
    for part in HELD_OUT_SPLITS:
        if wanted := _count_split_rows(config[f"{part}_size"], len(row_indices)):
            groups = None if label_codes is None else label_codes[left]
            seed = derive_seed(config["seed"], part, "client", client_index)
            mask = sample_row_mask(groups, len(left), wanted, seed)
            parts[part], left = row_indices[left[mask]], left[~mask]
    return {"train": row_indices[left], **parts}


def _count_train_rows(num_rows: int, config: Mapping[str, Any]) -> int:
    return num_rows - sum(
        _count_split_rows(config[f"{part}_size"], num_rows) for part in HELD_OUT_SPLITS
    )


def _count_split_rows(size: int | float, num_rows: int) -> int:
    return resolve_num_rows(size, num_rows) if size else 0
