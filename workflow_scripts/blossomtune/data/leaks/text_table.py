"""Different texts on disk, each stored once."""

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_SCHEMA = pa.schema([("text", pa.large_string())])


class TextTable:
    """Table of different texts in an Arrow file, found by their 128-bit BLAKE2b digests.

    Args:
        path: the file to write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._indices: dict[bytes, int] = {}
        self._writer = pa.ipc.new_file(str(path), _SCHEMA)

    def add(self, texts: Iterable[str | None]) -> NDArray[np.int64]:
        """Add texts; return (texts,) int64, the index of each in the table, -1 for None."""
        indices, new_texts = list[int](), list[str]()
        for text in texts:
            if text is None:
                indices.append(-1)
                continue
            digest = blake2b(text.encode(), digest_size=16).digest()
            if digest not in self._indices:
                self._indices[digest] = len(self._indices)
                new_texts.append(text)
            indices.append(self._indices[digest])
        if new_texts:
            self._writer.write_batch(pa.record_batch([new_texts], _SCHEMA))
        return np.array(indices, dtype=np.int64)

    def read(self) -> pa.ChunkedArray:
        """Finish the file and map its texts into memory."""
        self._writer.close()
        return pa.ipc.open_file(pa.memory_map(str(self._path))).read_all()["text"]
