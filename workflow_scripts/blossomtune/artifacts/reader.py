"""TODO docstring."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from blossomtune import files
from blossomtune.errors import UserError

ArtifactT = TypeVar("ArtifactT", bound=BaseModel)


_REGENERATE_HINT = "remove the file and run the workflow again; it makes what is missing"


def read_artifact(path: Path, model_type: type[ArtifactT]) -> ArtifactT:
    """Reads and checks one JSON file.

    Raises:
        UserError: where it is missing, is not JSON, or lacks what the report needs.
    """
    try:
        return model_type.model_validate(files.read_json(path))
    except FileNotFoundError:
        raise missing_file_error(path) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise invalid_file_error(path, f"not a JSON file: {error}") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "(top level)"
        raise invalid_file_error(path, f"{where}: {fault['msg']}") from None


def missing_file_error(path: Path) -> UserError:
    """The error about a file that is not there."""
    return invalid_file_error(path, "this file is needed and it is not there")


def invalid_file_error(path: Path, reason: str) -> UserError:
    """The error about a file that the report cannot use, and why."""
    return UserError(f"{path}: {reason}", _REGENERATE_HINT)
