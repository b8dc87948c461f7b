"""The error for a file that cannot be read as its format."""

from pathlib import Path

from blossomtune.errors import UserError

_MAX_REASON_LENGTH = 300


def make_read_error(
    path: Path, file_format: str, error: Exception | str, hint: str | None = None
) -> UserError:
    """Return the error for a file whose content does not fit its format.

    Args:
        path: the file.
        file_format: the format it was read as.
        error: the reader's error; its first line is the reason.
        hint: what to do; the default names the keys of all formats.

    Returns:
        The error, to be raised.
    """
    reason = (str(error).splitlines() or ["?"])[0][:_MAX_REASON_LENGTH]
    return UserError(
        f"{path.name} cannot be read as {file_format}: {reason}",
        hint or "check format.kind and format.encoding",
    )
