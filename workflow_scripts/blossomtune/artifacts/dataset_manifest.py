"""TODO docstring."""

from typing import Any

from pydantic import BaseModel


class RowCounts(BaseModel):
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
    rows: RowCounts
