"""Class names of a data set's columns, and checks that all of its rows agree on them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from blossomtune.artifacts.dataset_manifest import ClassLabels
from blossomtune.errors import UserError


def list_class_labels(
    class_names: Mapping[tuple[str, str], list[str]], dataset_config: Mapping[str, Any]
) -> list[ClassLabels]:
    """List the class names of the columns that are left after the steps of a data set.

    Args:
        class_names: names per column of the source and field inside it.
        dataset_config: a data set's ``class_labels``, ``rename``, ``derive`` and ``columns``.

    Returns:
        The class names under the columns' new names.
    """
    columns, derived = dataset_config["columns"], dataset_config["derive"]
    labels = (
        ClassLabels(
            column=dataset_config["rename"].get(column, column),
            field=field,
            names=names,
            used=dataset_config["class_labels"],
        )
        for (column, field), names in class_names.items()
    )
    return [
        label
        for label in labels
        if label.column not in derived and (columns is None or label.column in columns)
    ]


def merge_class_labels(
    train_labels: Sequence[ClassLabels], test_labels: Sequence[ClassLabels]
) -> list[ClassLabels]:
    """Merge the class names of training rows and of test rows from another source.

    Args:
        train_labels: class names of the training rows.
        test_labels: class names of the test rows.

    Returns:
        All class names, those of the training rows first.

    Raises:
        UserError: if numbers are used and mean different classes.
    """
    merged = {(labels.column, labels.field): labels for labels in train_labels}
    for labels in test_labels:
        known = merged.setdefault((labels.column, labels.field), labels)
        _check_numbers("test.source", known, labels)
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
    own_labels = {(labels.column, labels.field): labels for labels in client_labels}
    for labels in dataset_labels:
        if own := own_labels.get((labels.column, labels.field)):
            _check_numbers("this file", labels, own)
        data_type = schema.field(labels.column).type
        if labels.used == "names" and not labels.field and not pa.types.is_string(data_type):
            raise UserError(
                f"column {labels.column!r} has values of type {data_type}, but the data set has "
                f"class names: {', '.join(labels.names)}",
                "write the names into the file, or use class_labels: numbers for the data set",
            )


def _check_numbers(location: str, known: ClassLabels, labels: ClassLabels) -> None:
    if "numbers" in (known.used, labels.used) and known.names != labels.names:
        raise UserError(
            f"the numbers of column {labels.column + labels.field!r} mean "
            f"{', '.join(labels.names)} in {location}, but {', '.join(known.names)} elsewhere",
            "class_labels: names uses the names instead",
        )
