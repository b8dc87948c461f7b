"""Keep tensors in a temporary file instead of in memory."""

import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import torch
from torch import Tensor

from blossomtune.errors import UserError
from blossomtune.full_disk import find_mount_point
from blossomtune.named_tensors import StateDict


class SpooledState(Mapping[str, Tensor]):
    """float32 tensors in a file. Each access reads a copy, and nothing stays in memory.

    Args:
        file: Open file, which must stay open.
        layout: Offset in bytes and shape of each tensor, by name.
    """

    def __init__(self, file: IO[bytes], layout: Mapping[str, tuple[int, tuple[int, ...]]]) -> None:
        self._file, self._layout = file, layout

    def __getitem__(self, name: str) -> Tensor:
        """Read a tensor."""
        shape = self._layout[name][1]
        return self.read_elements(name, slice(0, math.prod(shape))).reshape(shape)

    def __contains__(self, name: object) -> bool:
        """Return whether there is a tensor of this name."""
        return name in self._layout

    def __iter__(self) -> Iterator[str]:
        """Iterate over the tensors' names, in the order in which they were written."""
        return iter(self._layout)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._layout)

    def read_elements(self, name: str, elements: slice) -> Tensor:
        """Read a part of a tensor.

        Args:
            name: Name of the tensor.
            elements: Elements of the flattened tensor, with start and stop.

        Returns:
            Flat tensor.

        Raises:
            EOFError: If the file is shorter than it was.
        """
        values = np.empty(elements.stop - elements.start, np.float32)
        view = values.data.cast("B")
        offset, num_read = self._layout[name][0] + elements.start * values.itemsize, 0
        while num_read < len(view):  # the system reads at most 2 GiB at once
            count = os.preadv(self._file.fileno(), [view[num_read:]], offset + num_read)
            if not count:
                raise EOFError(f"the temporary file ends inside {name}")
            num_read += count
        return torch.from_numpy(values)

    def map(self) -> StateDict:
        """Return all tensors as views of the mapped file; changes of them are not written."""
        values = torch.from_numpy(np.memmap(self._file, np.float32, "c"))
        state = {}
        for name, (offset, shape) in self._layout.items():
            start = offset // values.itemsize
            state[name] = values[start : start + math.prod(shape)].reshape(shape)
        return state


class TensorSpool:
    """Temporary file for tensors.

    The file has no name, so the system removes it even after the process was killed.

    Args:
        folder: Folder on the disk to use; None for the system's temporary folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - see __exit__

    def __enter__(self) -> "TensorSpool":
        """Return the spool."""
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the file.

        Args:
            exception_type: Not used.
            exception: Not used.
            traceback: Not used.
        """
        self._file.close()

    def write(self, tensors: Iterable[tuple[str, Tensor]]) -> SpooledState:
        """Append tensors to the file.

        Args:
            tensors: Pairs of name and float32 tensor.

        Returns:
            The same tensors in the file.

        Raises:
            UserError: If the disk is full.
        """
        layout = {}
        try:
            for name, tensor in tensors:
                layout[name] = self._file.tell(), tuple(tensor.shape)
                self._file.write(tensor.contiguous().numpy().data)
            self._file.flush()
        except OSError as error:
            folder = Path(self._folder or tempfile.gettempdir())
            raise UserError(
                f"the replies of a round cannot be written below {folder} on the disk "
                f"{find_mount_point(folder)}: {error.strerror}",
                "a round needs as much disk space as its clients' adapters in float32",
            ) from error
        return SpooledState(self._file, layout)
