"""Read and write the files that stages exchange."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from blossomtune import files
from blossomtune.artifacts.base import Artifact
from blossomtune.errors import UserError

ModelT = TypeVar("ModelT", bound=BaseModel)

_REGENERATE_HINT = "remove the file and run the workflow again; it makes what is missing"


def read_artifact(path: Path, model_type: type[ModelT]) -> ModelT:
    """Read a JSON file and validate it.

    Args:
        path: the file.
        model_type: class of the file's content.

    Returns:
        Instance of ``model_type``.

    Raises:
        UserError: if the file is missing, is not JSON, or does not match ``model_type``.
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


def write_artifact(path: Path, artifact: Artifact) -> None:
    """Write an artifact as JSON with sorted keys, atomically.

    Infinite and undefined numbers, such as a diverged loss, are written as ``Infinity`` and
    ``NaN``.

    Args:
        path: the file to write.
        artifact: its content.
    """
    files.write_json(path, artifact.model_dump(mode="json"))


def missing_file_error(path: Path) -> UserError:
    """Return the error for a file that does not exist."""
    return invalid_file_error(path, "this file is needed and it is not there")


def invalid_file_error(path: Path, reason: str) -> UserError:
    """Return the error for a file that cannot be used.

    Args:
        path: the file.
        reason: why it cannot be used.

    Returns:
        Error to raise: path and reason, with the hint to remove the file and run again.
    """
    return UserError(f"{path}: {reason}", _REGENERATE_HINT)
