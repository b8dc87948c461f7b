"""Base classes of the files that stages exchange."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A value inside an artifact. Unknown keys are an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_serialization_defaults_required=True
    )


class Artifact(Part):
    """A JSON file that one stage writes and others read.

    Attributes:
        schema_version: version of the file's keys and their meaning.
    """

    schema_version: Literal[1] = 1
