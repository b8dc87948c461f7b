"""TODO docstring."""

from pathlib import Path

from blossomtune.errors import UserError


def make_read_error(path: Path, file_format: str, error: Exception | str) -> UserError:
    """The error for a file that is not what it should be."""
    return UserError(
        f"{path.name} cannot be read as {file_format}: {(str(error).splitlines() or ['?'])[0][:300]}",
        "check format.kind, format.columns and that the text is UTF-8",
    )
