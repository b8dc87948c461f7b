"""Follow a running federation: wait for its rounds, and find its processes."""

from contextlib import suppress

import psutil
from leftovers import list_reaped_folders, wait_until

from blossomtune.files import compute_file_sha256

SETTINGS = {"rounds": 3, "optimizer_state": "kept"}
"""Settings of the federation that all engines run."""


def wait_for_success(process):
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def hash_adapter(process):
    return compute_file_sha256(process.adapter / "adapter_model.safetensors")


def find_children(process, kind):
    """Return a run's processes of a kind (supernode, trainer), by client."""
    children = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            name, _, client = child.name().partition("_")
            if name == kind and client:
                children[int(client)] = child
    return children


def wait_for_round(process, number):
    """Wait until a round has a checkpoint."""
    folder = process.adapter.parent / "checkpoints"

    def is_done():
        exists = any(int(f.name[-5:]) >= number for f in folder.glob("*/round-?????"))
        assert exists or process.poll() is None, process.stdout.read()
        return exists

    wait_until(is_done)


def find_scratch_dir(children):
    """Return the scratch folder of a run, from its reaper."""
    [folder] = list_reaped_folders(children)
    return folder
