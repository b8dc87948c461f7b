"""Draw a progress bar on the terminal that a run was started in."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from blossomtune.process_lifetime import find_snakemake

FORMAT = "{desc} {n_fmt}/{total_fmt} |{bar:6}| {remaining}"
"""Format of the bar, about as long as the shortest line that Snakemake writes over it."""

ItemT = TypeVar("ItemT")


class _CursorAtStart:
    """A terminal whose next line, from any process, is written over the bar.

    Args:
        terminal: The terminal.
    """

    def __init__(self, terminal: FileIO) -> None:
        self._terminal = terminal

    def write(self, text: str) -> None:
        """Write text and move the cursor to the start of the line, unless the terminal is gone."""
        with suppress(OSError):
            self._terminal.write(f"{text}\r".encode())

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""


def iterate_with_bar(
    items: Iterable[ItemT], label: str, total: int, num_done: int = 0
) -> Iterator[ItemT]:
    """Yield items and draw a bar, if there is a terminal and no other process draws one on it.

    Args:
        items: Items to yield.
        label: Name of an item.
        total: Number of all items.
        num_done: Items that were done before.

    Yields:
        The items.
    """
    with _lock_terminal() as terminal:
        if terminal is None:
            yield from items
            return
        yield from tqdm(
            items,
            label,
            total=total,
            initial=num_done,
            file=_CursorAtStart(terminal),
            leave=False,
            disable=False,  # stages set TQDM_DISABLE for other libraries
            bar_format=FORMAT,
            ascii=" #",
        )


@contextmanager
def _lock_terminal() -> Iterator[FileIO | None]:
    """Open and lock the terminal; yield None where that is not possible."""
    terminal = None
    with ExitStack() as stack:
        with suppress(OSError):
            if path := find_terminal():
                file = stack.enter_context(FileIO(path, "w"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                terminal = file
        yield terminal


def find_terminal() -> str | None:
    """Return the path of the terminal that is Snakemake's standard error, or None.

    A stage's own output goes to its log. On clusters, the Snakemake of a job writes to a file.
    """
    if (snakemake_pid := find_snakemake()) is None:
        return None
    try:
        path = str(Path(f"/proc/{snakemake_pid}/fd/2").readlink())
        # no file is opened for writing before it is known to be a terminal
        descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:  # another system than Linux, a pipe, or a terminal that is gone
        return None
    try:
        return path if os.isatty(descriptor) else None
    finally:
        os.close(descriptor)
