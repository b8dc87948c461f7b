"""Files as streams of bytes, unpacked on the way."""

from pathlib import Path

import pyarrow as pa

_COMPRESSION_BY_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


_COMPRESSION_BY_SUFFIX = {".gz": "gzip", ".zst": "zstd"}


def detect_compression(path: Path) -> str | None:
    """What a file is compressed by: its name says so or, without a name for it, its first bytes."""
    if path.suffix.lower() in _COMPRESSION_BY_SUFFIX:
        return _COMPRESSION_BY_SUFFIX[path.suffix.lower()]
    with path.open("rb") as file:
        start = file.read(4)
    return next(
        (kind for magic, kind in _COMPRESSION_BY_MAGIC.items() if start.startswith(magic)), None
    )


def open_decompressed(path: Path) -> pa.NativeFile:
    """A file's bytes, as they were before gzip or zstd."""
    file = pa.OSFile(str(path))
    kind = detect_compression(path)
    return pa.CompressedInputStream(file, kind) if kind else file
