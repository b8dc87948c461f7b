"""TODO docstring."""

from typing import Any

from pydantic import BaseModel


class Provenance(BaseModel):
    """Where a model came from."""

    source: dict[str, Any]
    revision: str | None
    licence: str | None
    parameters: int
