"""Sampling of the rows of a test split."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from blossomtune.errors import UserError
from blossomtune.seeds import derive_seed


def sample_row_mask(
    groups: np.ndarray | Sequence[Any] | None, num_rows: int, size: int | float, seed: int
) -> np.ndarray:
    """Sample the rows of a test split, stratified by groups.

    Args:
        groups: one value per row for stratified sampling; values with the same ``str`` are equal.
            None for plain sampling.
        num_rows: number of rows.
        size: number of rows to sample, or a fraction of all rows below 1.
        seed: the configuration's seed.

    Returns:
        Mask of the sampled rows, shape (num_rows,), bool; exactly ``size`` are true.

    Raises:
        UserError: if no row would be left to train on.
    """
    num_sampled = resolve_num_rows(size, num_rows)
    if num_sampled >= num_rows:
        raise UserError(
            f"test.size: {size} of {num_rows} rows leaves none to train on",
            "give fewer rows, or a share below 1 such as 0.1",
        )
    codes, names = np.zeros(num_rows, dtype=np.int64), {"": 0}
    if groups is not None:
        names = {}
        encoded = (names.setdefault(str(value), len(names)) for value in groups)
        codes = np.fromiter(encoded, dtype=np.int64, count=num_rows)
    sizes = np.bincount(codes, minlength=len(names))
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])
    counts = apportion(dict(zip(names, sizes.tolist(), strict=True)), num_sampled)
    mask = np.zeros(num_rows, dtype=bool)
    for (name, count), group in zip(counts.items(), members, strict=True):
        order = np.random.default_rng(derive_seed(seed, "test split", name)).permutation(group)
        mask[order[:count]] = True
    return mask


def resolve_num_rows(size: int | float, total_rows: int) -> int:
    """Return a size as a number of rows.

    Args:
        size: a number of rows, or a fraction of all rows below 1.
        total_rows: number of all rows.

    Returns:
        The number of rows; at least 1 for a fraction.
    """
    return int(size) if size >= 1 else max(1, round(size * total_rows))


def apportion(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Apportion ``total`` in proportion to ``sizes`` by largest remainders (Hamilton's method).

    Equal remainders are ordered by name, so that the order of ``sizes`` does not matter.

    Args:
        sizes: size per group; their sum is at least ``total``.
        total: the number to apportion.

    Returns:
        Integer per group; they sum to ``total``, and none exceeds its group's size.
    """
    sum_sizes = sum(sizes.values())
    counts = {name: size * total // sum_sizes for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-(sizes[name] * total % sum_sizes), name))
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts
