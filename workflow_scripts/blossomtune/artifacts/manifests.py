"""Manifests in results/: read and checked, or an error that names the file."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from blossomtune import files
from blossomtune.errors import UserError


class Provenance(BaseModel):
    """Where a model came from."""

    source: dict[str, Any]
    revision: str | None
    licence: str | None
    parameters: int


class Rows(BaseModel):
    """How many rows a data set had, and what became of them."""

    read: int
    filtered: int
    duplicates: int
    limited: int
    train: int
    test: int


class DatasetManifest(BaseModel):
    """Where a data set came from."""

    source: dict[str, Any]
    revision: str | None
    licence: str | None
    rows: Rows


class Share(BaseModel):
    """One client's part of a data set; labels are counted over its training rows.

    Of a client whose rows are elsewhere nothing is known but its name.
    """

    client: int
    name: str
    rows: int | None
    validation: int | None
    test: int | None
    labels: dict[str, int] | None
    distance: float | None


class PartitionManifest(BaseModel):
    """How a data set was cut into clients; labels are counted over all of its rows."""

    partitioner: str
    column: str | None
    label_column: str | None
    labels: dict[str, int] | None
    clients: list[Share]

    @property
    def elsewhere(self) -> bool:
        """Whether the clients' rows are with them, and unknown here."""
        return any(share.rows is None for share in self.clients)


class Shape(BaseModel):
    """What rows were taken for, and the templates that made conversations of them."""

    name: str
    detected: bool
    column: str | None
    templates: dict[str, str]


class Tokens(BaseModel):
    """One client's rows after tokenisation."""

    client: int
    rows: int
    dropped: dict[str, int]
    truncated: int
    packed: int | None
    tokens: int

    @property
    def left_out(self) -> int:
        """Rows that nobody trained on."""
        return sum(self.dropped.values())


class PreprocessedManifest(BaseModel):
    """What tokenisation made of the clients' rows."""

    shape: Shape
    clients: list[Tokens]


Checked = TypeVar("Checked", bound=BaseModel)

_AGAIN = "remove the file and run the workflow again; it makes what is missing"


def read(path: Path, kind: type[Checked]) -> Checked:
    """Reads and checks one JSON file.

    Raises:
        UserError: where it is missing, is not JSON, or lacks what the report needs.
    """
    try:
        return kind.model_validate(files.read_json(path))
    except FileNotFoundError:
        raise missing(path) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise unusable(path, f"not a JSON file: {error}") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "(top level)"
        raise unusable(path, f"{where}: {fault['msg']}") from None


def missing(path: Path) -> UserError:
    """The error about a file that is not there."""
    return unusable(path, "this file is needed and it is not there")


def unusable(path: Path, what: str) -> UserError:
    """The error about a file that the report cannot use, and why."""
    return UserError(f"{path}: {what}", _AGAIN)
