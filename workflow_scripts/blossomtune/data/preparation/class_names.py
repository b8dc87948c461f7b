"""Class names of a data set's columns, and checks that all of its rows agree on them."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from blossomtune.artifacts.dataset_manifest import ClassLabels
from blossomtune.data.template_numbers import check_class_names
from blossomtune.errors import UserError


def transform_class_labels(
    class_labels: Sequence[ClassLabels], dataset_config: Mapping[str, Any]
) -> list[ClassLabels]:
    """Return the class names that are left after the steps of a data set.

    Args:
        class_labels: class names of the columns of the source.
        dataset_config: a data set's ``rename``, ``derive``, ``filter`` and ``columns``.

    Returns:
        The class names under the columns' new names, without derived and dropped columns.

    Raises:
        UserError: if a template uses class names as numbers.
    """
    new_names, columns = dataset_config["rename"], dataset_config["columns"]
    left = [
        labels.model_copy(update={"column": new_names.get(labels.column, labels.column)})
        for labels in class_labels
    ]
    for name, source in dataset_config["derive"].items():
        check_class_names(f"derive.{name}", source, left)
        left = [labels for labels in left if labels.column != name]
    if dataset_config["filter"]:
        condition = f"{{% if {dataset_config['filter']} %}}{{% endif %}}"
        check_class_names("filter", condition, left)
    return [labels for labels in left if columns is None or labels.column in columns]


def merge_class_labels(*parts: Sequence[ClassLabels]) -> list[ClassLabels]:
    """Merge the class names of rows that are used together.

    Args:
        *parts: class names per part of the rows.

    Returns:
        Class names of all columns, each in the order of the parts.

    Raises:
        UserError: if numbers are used and mean different classes.
    """
    merged: dict[tuple[str, str], ClassLabels] = {}
    for labels in chain.from_iterable(parts):
        known = merged.setdefault((labels.column, labels.field), labels)
        _check_numbers(known, labels)
        names = list(dict.fromkeys([*known.names, *labels.names]))
        merged[labels.column, labels.field] = known.model_copy(update={"names": names})
    return list(merged.values())


def check_client_class_labels(
    schema: pa.Schema, client_labels: Sequence[ClassLabels], dataset_labels: Sequence[ClassLabels]
) -> None:
    """Check that a client's rows use the class names or numbers of the data set.

    Args:
        schema: schema of the client's rows.
        client_labels: class names of the client's rows.
        dataset_labels: class names of the data set.

    Raises:
        UserError: if the client has numbers where the data set has names, or its numbers mean
            different classes.
    """
    merge_class_labels(dataset_labels, client_labels)
    for labels in dataset_labels:
        data_type = schema.field(labels.column).type
        if labels.used == "names" and not labels.field and not pa.types.is_string(data_type):
            raise UserError(
                f"column {labels.column!r} has values of type {data_type}, but the data set has "
                f"class names: {', '.join(labels.names)}",
                "write the names into the file, or use class_labels: numbers for the data set",
            )


def _check_numbers(known: ClassLabels, labels: ClassLabels) -> None:
    if "numbers" in (known.used, labels.used) and known.names != labels.names:
        raise UserError(
            f"the numbers of column {labels.column + labels.field!r} mean "
            f"{', '.join(known.names)} in some rows and {', '.join(labels.names)} in others",
            "class_labels: names uses the names instead",
        )
