"""Flower Datasets' partitioners over row numbers instead of rows."""

import contextlib
import io
import warnings
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from flwr_datasets.partitioner import Partitioner

from blossomtune.errors import UserError

VALUE_COLUMN = "value"
"""The one column that partitioners see."""


def run_partitioner(
    partitioner: Partitioner, values: np.ndarray, key: str, message: str = "", hint: str = ""
) -> list[np.ndarray]:
    """Asks a partitioner of Flower's who gets which rows.

    Args:
        partitioner: one that has no data set yet; ``COLUMN`` is the column to partition by.
        values: shape (N,), that column.
        key: the configuration's key to name where the partitioner refuses.
        problem: what to say then, instead of the partitioner's own words.
        hint: what may help.

    Returns:
        The row numbers of each partition.

    Raises:
        UserError: where the partitioner refuses.
    """
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # progress bars
        warnings.simplefilter("ignore")  # of what is checked afterwards, or is done on purpose
        try:
            partitioner.dataset = _RowIndexDataset(values, np.arange(len(values)))
            return [partitioner.load_partition(i) for i in range(partitioner.num_partitions)]
        except ValueError as error:
            raise UserError(f"{key}: {message or error}", hint or None) from None


class _RowIndexDataset(datasets.Dataset):
    """A data set of one column that is selected from by giving the row numbers themselves.

    Flower reads a column value by value and has a data set made for each client; for a thousand
    clients this takes minutes. Whole arrays say the same in moments.
    """

    def __init__(self, values: np.ndarray, row_indices: np.ndarray) -> None:
        super().__init__(pa.table({VALUE_COLUMN: values}))
        self._values, self._row_indices = values, row_indices

    def __getitem__(self, key: Any) -> Any:
        return self._values if key == VALUE_COLUMN else super().__getitem__(key)

    def sort(self, *_: Any, **__: Any) -> "_RowIndexDataset":
        order = np.argsort(self._values, kind="stable")
        return _RowIndexDataset(self._values[order], self._row_indices[order])

    def select(self, indices: Any, **_: Any) -> Any:
        return self._row_indices[np.asarray(indices, dtype=np.int64)]
