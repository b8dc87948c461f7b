"""Which rows are held out from training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from blossomtune.errors import UserError
from blossomtune.seeds import derive_seed


def sample_row_mask(
    groups: np.ndarray | Sequence[Any] | None, num_rows: int, size: int | float, seed: int
) -> np.ndarray:
    """Chooses the rows of a test split.

    Args:
        groups: a value a row; each has the same share in both parts, as nearly as whole rows
            allow. Values with the same ``str`` are one. None for plain sampling.
        rows: how many rows there are.
        size: how many to hold out, or a share of all rows below 1.
        seed: the configuration's seed.

    Returns:
        Shape (rows,), bool: exactly ``size`` of them true.

    Raises:
        UserError: where no row would be left to train on.
    """
    wanted = resolve_num_rows(size, num_rows)
    if wanted >= num_rows:
        raise UserError(
            f"test.size: {size} of {num_rows} rows leaves none to train on",
            "give fewer rows, or a share below 1 such as 0.1",
        )
    codes, names = np.zeros(num_rows, dtype=np.int64), {"": 0}
    if groups is not None:
        names = {}
        known = (names.setdefault(str(value), len(names)) for value in groups)
        codes = np.fromiter(known, dtype=np.int64, count=num_rows)
    sizes = np.bincount(codes, minlength=len(names))
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])
    counts = apportion(dict(zip(names, sizes.tolist(), strict=True)), wanted)
    chosen = np.zeros(num_rows, dtype=bool)
    for (name, count), group in zip(counts.items(), members, strict=True):
        order = np.random.default_rng(derive_seed(seed, "test split", name)).permutation(group)
        chosen[order[:count]] = True
    return chosen


def resolve_num_rows(size: int | float, total_rows: int) -> int:
    """A size as a number of rows; a share is one row at least."""
    return int(size) if size >= 1 else max(1, round(size * total_rows))


def apportion(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Shares ``total`` out in proportion to ``sizes`` by largest remainders (Hamilton's method).

    Args:
        sizes: size of each group; their sum is at least ``total``.
        total: how many to share out.

    Returns:
        Whole numbers that sum to ``total``, none above its group's size. Equal remainders go by
        the groups' names, so that the order of ``sizes`` does not matter.
    """
    everything = sum(sizes.values())
    counts = {name: size * total // everything for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-(sizes[name] * total % everything), name))
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts
