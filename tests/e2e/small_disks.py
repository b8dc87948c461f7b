"""File systems of a few megabytes, and files that fill them."""

import os
import shutil
import subprocess
from contextlib import contextmanager, suppress

import pytest


@contextmanager
def mount_small_disk(folder, megabytes):
    """Mount a file system at a folder, which keeps its files; unmount it after the block."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    copy = folder.with_name(f"{folder.name}-files")
    shutil.copytree(folder, copy)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", folder], check=True)
    try:
        shutil.copytree(copy, folder, dirs_exist_ok=True)
        shutil.rmtree(copy)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder):
    """Fill the disk of a folder; return the file that fills it."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(2**12)):
            pass
    assert shutil.disk_usage(folder).free < 2**12
    return filler
