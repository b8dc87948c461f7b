"""manifest.json of a data set."""

from typing import Literal

from blossomtune.artifacts.base import Artifact, Part
from blossomtune.artifacts.file_reading import FileReading
from blossomtune.artifacts.origin import Origin


class RowCounts(Part):
    """Rows of a data set after each step of its preparation.

    Attributes:
        read: rows of all sources.
        skipped: bad lines and empty texts that were skipped while reading.
        filtered: rows that the filter removed.
        duplicates: rows that deduplication removed.
        limited: rows beyond the limit.
        train: training rows.
        test: held-out rows.
    """

    read: int
    skipped: int
    filtered: int
    duplicates: int
    limited: int
    train: int
    test: int


class ClassLabels(Part):
    """Classes of a column whose file stores numbers and their names.

    Attributes:
        column: name of the column.
        field: place inside the column, such as `[]` for the items of lists; empty for the column.
        names: the classes' names, in the order of their numbers.
        used: whether the rows have names or numbers.
    """

    column: str
    field: str
    names: list[str]
    used: Literal["names", "numbers"]


class DatasetSummary(Origin):
    """Origin and columns of a data set: what its clients need to prepare rows of their own.

    Attributes:
        columns: names, in order.
        stratify_by: column whose shares the split kept, if any.
        class_labels: columns whose classes have names.
    """

    columns: list[str]
    stratify_by: str | None
    class_labels: list[ClassLabels]


class DatasetManifest(Artifact, DatasetSummary):
    """Origin, columns and rows of a data set.

    Attributes:
        rows: rows after each step.
        readings: how the files were read; empty for the hub and for mixtures.
        seed: seed of the split and of the order.
        files: SHA-256 by file name.
    """

    rows: RowCounts
    readings: list[FileReading]
    seed: int
    files: dict[str, str]
