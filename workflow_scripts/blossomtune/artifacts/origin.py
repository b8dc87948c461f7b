"""Origin of a model's or data set's files."""

from typing import Any

from blossomtune.artifacts.base import Part


class Origin(Part):
    """Origin of a model or a data set.

    Attributes:
        source: the block ``source`` of its configuration.
        revision: version or commit that was fetched; None if the source has none.
        licence: SPDX identifier or free text; None if unknown.
    """

    source: dict[str, Any]
    revision: str | None
    licence: str | None
