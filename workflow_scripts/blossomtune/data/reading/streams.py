"""Files as streams of bytes, unpacked on the way."""

from pathlib import Path

import pyarrow as pa

from blossomtune.errors import UserError

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_ENDINGS = {".gz": "gzip", ".zst": "zstd"}


def compression(path: Path) -> str | None:
    """What a file is compressed by: its name says so or, without a name for it, its first bytes."""
    if path.suffix.lower() in _ENDINGS:
        return _ENDINGS[path.suffix.lower()]
    with path.open("rb") as file:
        start = file.read(4)
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)


def opened(path: Path) -> pa.NativeFile:
    """A file's bytes, as they were before gzip or zstd."""
    file = pa.OSFile(str(path))
    kind = compression(path)
    return pa.CompressedInputStream(file, kind) if kind else file


def unreadable(path: Path, kind: str, error: Exception | str) -> UserError:
    """The error for a file that is not what it should be."""
    return UserError(
        f"{path.name} cannot be read as {kind}: {(str(error).splitlines() or ['?'])[0][:300]}",
        "check format.kind, format.columns and that the text is UTF-8",
    )
