"""Adapter that runs Flower Datasets' partitioners on row indices."""

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
"""The only column that partitioners see."""


def run_partitioner(
    partitioner: Partitioner, values: np.ndarray, key: str, message: str = "", hint: str = ""
) -> list[np.ndarray]:
    """Run a partitioner of Flower Datasets.

    Args:
        partitioner: a partitioner without data set, which partitions by ``VALUE_COLUMN``.
        values: shape (N,), the values of that column.
        key: configuration key that the error names.
        message: the error's message; the partitioner's own if empty.
        hint: the error's hint.

    Returns:
        Row indices of each partition.

    Raises:
        UserError: if the partitioner raises ValueError.
    """
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # progress bars
        warnings.simplefilter("ignore")  # callers check the result
        try:
            partitioner.dataset = _RowIndexDataset(values, np.arange(len(values)))
            return [partitioner.load_partition(i) for i in range(partitioner.num_partitions)]
        except ValueError as error:
            raise UserError(f"{key}: {message or error}", hint or None) from None


class _RowIndexDataset(datasets.Dataset):  # type: ignore[misc]  # datasets is untyped
    """A data set of one column whose ``select`` returns row indices.

    Flower reads the column value by value and selects one data set per client. Arrays avoid the
    minutes that this takes for a thousand clients.
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
