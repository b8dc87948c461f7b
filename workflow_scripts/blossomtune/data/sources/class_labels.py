"""Class names of columns that the library `datasets` stores as numbers (its type ClassLabel)."""

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blossomtune.errors import UserError

_METADATA_KEY = b"huggingface"  # under which `datasets` stores the types of columns

_LIST_TYPES = ("List", "LargeList", "Sequence")
_HINT = "class_labels: numbers keeps the numbers of the file"


def copy_metadata(schema: pa.Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with the class names of a schema, which normalization removes.

    Args:
        schema: the schema of the rows as they were read.
        batch: the same rows in normalized types.

    Returns:
        The batch with metadata; the batch itself if there are none.
    """
    metadata = (schema.metadata or {}).get(_METADATA_KEY)
    return batch.replace_schema_metadata({_METADATA_KEY: metadata}) if metadata else batch


class ClassLabelDecoder:
    """Decoder of class numbers in the batches of a source.

    Args:
        use_names: whether numbers become names, or stay.

    Attributes:
        names: class names in the order of their numbers, per column and field inside it (such as
            ``[]`` for the items of lists), of all batches so far.
    """

    def __init__(self, *, use_names: bool) -> None:
        self.names: dict[tuple[str, str], list[str]] = {}
        self._use_names = use_names
        self._file, self._first_row = "", 0

    def decode(self, file: str, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Decode the class numbers of a batch; -1, which means no class, becomes null.

        Args:
            file: name of the batch's file; the batches of a file are consecutive.
            batch: rows in normalized types, with the metadata of `datasets` if there are any.

        Returns:
            The rows, without metadata.

        Raises:
            UserError: if a number has no name, or the names contradict each other.
        """
        if file != self._file:
            self._file, self._first_row = file, 0
        features = _parse_features((batch.schema.metadata or {}).get(_METADATA_KEY))
        batch = batch.replace_schema_metadata(None)
        for index, column in enumerate(batch.schema.names):
            class_names = dict(_iter_class_names(features.get(column)))
            for field, names in class_names.items():
                self._add_names(column, field, names)
            if class_names and self._use_names:
                rows = np.arange(self._first_row, self._first_row + batch.num_rows)
                values = self._decode(batch.column(index), features[column], rows, column)
                batch = batch.set_column(index, column, values)
        self._first_row += batch.num_rows
        return batch

    def _add_names(self, column: str, field: str, names: list[str]) -> None:
        known = self.names.setdefault((column, field), names)
        if known == names:
            return
        if not self._use_names:
            raise UserError(
                f"{self._file}: the numbers of column {column + field!r} mean "
                f"{', '.join(names)}, and in an earlier file {', '.join(known)}",
                "class_labels: names makes one column of both",
            )
        self.names[column, field] = list(dict.fromkeys([*known, *names]))

    def _decode(self, values: pa.Array, feature: Any, rows: np.ndarray, path: str) -> pa.Array:
        """Decode an array that belongs to ``rows``, one row index per value."""
        if not any(_iter_class_names(feature)):
            return values
        if pa.types.is_list(values.type):
            lengths = values.value_lengths().fill_null(0).to_numpy()
            items = self._decode(
                values.flatten(), _get_item_feature(feature), np.repeat(rows, lengths), f"{path}[]"
            )
            offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
            return pa.ListArray.from_arrays(offsets, items, mask=values.is_null())
        if pa.types.is_struct(values.type):
            names = [field.name for field in values.type]
            parts = [
                self._decode(part, _get_field_feature(feature, name), rows, f"{path}.{name}")
                for name, part in zip(names, values.flatten(), strict=True)
            ]
            return pa.StructArray.from_arrays(parts, names, mask=values.is_null())
        if pa.types.is_integer(values.type):
            return self._name_classes(values, _get_class_names(feature) or [], rows, path)
        return values  # text: these are the names already

    def _name_classes(
        self, values: pa.Array, names: list[str], rows: np.ndarray, path: str
    ) -> pa.Array:
        numbers = values.cast(pa.int64()).fill_null(-1).to_numpy()
        wrong = np.flatnonzero((numbers < -1) | (numbers >= len(names)))
        if len(wrong):
            raise UserError(
                f"row {rows[wrong[0]]} of {self._file}: {path}: there is no class "
                f"{numbers[wrong[0]]}; classes: 0 to {len(names) - 1} ({', '.join(names)})",
                f"mend the file's list of names; {_HINT}",
            )
        indices = pa.array(numbers, mask=numbers == -1)
        return pc.take(pa.array(names, pa.string()), indices)


@functools.lru_cache(maxsize=8)
def _parse_features(metadata: bytes | None) -> Mapping[str, Any]:
    """Return the feature per column as `datasets` writes it in JSON; none if it is not valid."""
    try:
        features = json.loads(metadata or b"{}")["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _iter_class_names(feature: Any, field: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the field inside a column, and the class names, of each ClassLabel of a feature."""
    if (names := _get_class_names(feature)) is not None:
        yield field, names
    elif (item := _get_item_feature(feature)) is not None:
        yield from _iter_class_names(item, f"{field}[]")
    elif isinstance(feature, dict) and not isinstance(feature.get("_type"), str):
        for name, inner in feature.items():
            yield from _iter_class_names(inner, f"{field}.{name}")


def _get_class_names(feature: Any) -> list[str] | None:
    """Return the names of a ClassLabel; None if it is none, or its names are only the numbers."""
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = [str(name) for name in feature.get("names") or []]
    if names == [str(number) for number in range(len(names))]:
        return None
    if len(set(names)) < len(names):
        raise UserError(f"two classes have the same name: {', '.join(names)}", _HINT)
    return names


def _get_item_feature(feature: Any) -> Any:
    """Return the feature of a list's items, or None; older versions write ``[feature]``."""
    if isinstance(feature, list) and len(feature) == 1:
        return feature[0]
    if isinstance(feature, dict) and feature.get("_type") in _LIST_TYPES:
        return feature.get("feature")
    return None


def _get_field_feature(feature: Any, name: str) -> Any:
    """Return the feature of a struct's field; a Sequence of a struct is a struct of lists."""
    item = _get_item_feature(feature)
    return feature.get(name) if item is None else [item.get(name)]
