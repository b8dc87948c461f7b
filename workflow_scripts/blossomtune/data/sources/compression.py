"""Transparent decompression of gzip and zstd files."""

from pathlib import Path

import pyarrow as pa

_COMPRESSION_BY_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_COMPRESSION_BY_SUFFIX = {".gz": "gzip", ".zst": "zstd"}


def detect_compression(path: Path) -> str | None:
    """Return a file's compression by its suffix, or else by its first bytes; None if plain."""
    if path.suffix.lower() in _COMPRESSION_BY_SUFFIX:
        return _COMPRESSION_BY_SUFFIX[path.suffix.lower()]
    with path.open("rb") as file:
        header = file.read(4)
    matches = (name for magic, name in _COMPRESSION_BY_MAGIC.items() if header.startswith(magic))
    return next(matches, None)


def open_decompressed(path: Path) -> pa.NativeFile:
    """Open a file for reading, decompressed if it is gzip or zstd."""
    file = pa.OSFile(str(path))
    compression = detect_compression(path)
    return pa.CompressedInputStream(file, compression) if compression else file
