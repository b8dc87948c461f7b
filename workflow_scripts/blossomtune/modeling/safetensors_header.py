"""Read where a safetensors file has its tensors.

The file starts with the header's length in eight bytes and the header, a JSON object of tensors
(https://huggingface.co/docs/safetensors/index#format). The tensors follow without gaps.
"""

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple


class SafetensorsHeader(NamedTuple):
    """Header of a safetensors file.

    Attributes:
        tensors: ``dtype``, ``shape`` and ``data_offsets`` of each tensor.
        data_start: Position in the file that offsets count from, in bytes.
    """

    tensors: dict[str, dict[str, Any]]
    data_start: int


def read_header(path: Path) -> SafetensorsHeader:
    """Read the header of a safetensors file."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        tensors = json.loads(file.read(length))
    tensors.pop("__metadata__", None)
    return SafetensorsHeader(tensors, 8 + length)
