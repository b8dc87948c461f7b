"""Split of each client's rows into training, validation and test rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from blossomtune.data.preparation.test_split import resolve_num_rows, sample_row_mask
from blossomtune.errors import UserError
from blossomtune.seeds import derive_seed

HELD_OUT_SPLITS = ("test", "validation")
"""The splits in the order in which they are sampled; the remaining rows are trained on."""


def check_client_sizes(client_sizes: Sequence[tuple[str, int]], config: Mapping[str, Any]) -> None:
    """Check that each client has at least ``min_rows`` training rows.

    Args:
        client_sizes: name and number of rows of each client.
        config: a partition's block.

    Raises:
        UserError: if clients have too few rows, with their names and sizes.
    """
    too_small = [
        f"{name} has {n}"
        for name, n in client_sizes
        if _count_train_rows(n, config) < config["min_rows"]
    ]
    if too_small:
        sizes = "".join(
            f", {s}_size: {config[f'{s}_size']}" for s in HELD_OUT_SPLITS if config[f"{s}_size"]
        )
        shown = ", ".join(too_small[:5])
        shown += f", … ({len(too_small)} clients)" if len(too_small) > 5 else ""
        raise UserError(
            f"min_rows: {config['min_rows']}{sizes}: too few rows: {shown}",
            "use fewer clients, a more even partitioner, or smaller numbers for these keys",
        )


def compute_min_client_rows(config: Mapping[str, Any]) -> int:
    """Return the smallest number of a client's rows that leaves ``min_rows`` training rows."""
    sizes = [config[f"{split}_size"] for split in HELD_OUT_SPLITS]
    fraction = sum(size for size in sizes if size < 1)
    if fraction >= 1:
        raise UserError("test_size and validation_size: together they leave no rows to train on")
    rows = int((config["min_rows"] + sum(size for size in sizes if size >= 1)) / (1 - fraction))
    while _count_train_rows(rows, config) < config["min_rows"]:
        rows += 1
    return rows


def split_client_rows(
    row_indices: np.ndarray,
    label_codes: np.ndarray | None,
    config: Mapping[str, Any],
    client_index: int,
) -> dict[str, np.ndarray]:
    """Split a client's rows into training, test and validation rows.

    Args:
        row_indices: shape (N,), ascending; at least ``compute_min_client_rows`` rows.
        label_codes: shape (N,), label codes for stratified sampling; None for plain sampling.
        config: a partition's block and ``seed``.
        client_index: index of the client.

    Returns:
        Ascending row indices of ``train`` and, if not empty, of ``test`` and ``validation``.
    """
    splits, left = {}, np.arange(len(row_indices))
    for split in HELD_OUT_SPLITS:
        if count := _count_split_rows(config[f"{split}_size"], len(row_indices)):
            groups = None if label_codes is None else label_codes[left]
            seed = derive_seed(config["seed"], split, "client", client_index)
            mask = sample_row_mask(groups, len(left), count, seed)
            splits[split], left = row_indices[left[mask]], left[~mask]
    return {"train": row_indices[left], **splits}


def _count_train_rows(num_rows: int, config: Mapping[str, Any]) -> int:
    sizes = (config[f"{split}_size"] for split in HELD_OUT_SPLITS)
    return num_rows - sum(_count_split_rows(size, num_rows) for size in sizes)


def _count_split_rows(size: int | float, num_rows: int) -> int:
    return resolve_num_rows(size, num_rows) if size else 0
