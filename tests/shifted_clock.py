"""A clock that a test sets, for processes that it starts."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")


class ShiftedClock:
    """Clock of processes that start with its environment.

    A library that the linker loads before the C library adds the content of a file, in seconds.

    Args:
        folder: Folder for library and file.
    """

    def __init__(self, folder):
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("there is no C compiler")
        library, self.offset = folder / "shifted_clock.so", folder / "clock_offset"
        command = [compiler, "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"]
        subprocess.run(command, check=True)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(self.offset)}
        self.set(0)

    def set(self, seconds):
        """Set the clock so many seconds after that of the machine."""
        partial = self.offset.with_suffix(".partial")
        partial.write_text(str(seconds))
        partial.replace(self.offset)
