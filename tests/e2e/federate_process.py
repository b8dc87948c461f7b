"""The federate step as a process: its output, rounds, children and adapter."""

import json
import os
import subprocess
import sys
from contextlib import suppress

import psutil
from checkout import ROOT
from orphan_processes import find_run_folders
from patience import PATIENCE, wait_until

from blossomtune.artifacts.checksums import write_checksums
from blossomtune.files import compute_file_sha256, read_json

EXPECTED_KEYS = {"rounds": 3, "optimizer_state": "kept"}
"""Keys of ``expected_hash``, with which runs on all engines are compared."""

SEED = 7

COMMAND = (sys.executable, "workflow_scripts/federate.py")


def build_settings(training=None, rates=(1e-2, 5e-5), optimizer_state="fresh", **federation):
    """Return the blocks of a small federation; its keywords are keys of ``federation``."""
    from blossomtune.config.federation import FederationSettings
    from blossomtune.config.lora import LoraSettings
    from blossomtune.config.training import TrainingSettings

    blocks = {
        "lora": LoraSettings(r=4, alpha=8),
        "training": TrainingSettings(
            learning_rate_max=rates[0],
            learning_rate_min=rates[1],
            optimizer_state=optimizer_state,
            arguments={"per_device_train_batch_size": 4, "max_steps": 2} | (training or {}),
        ),
        "federation": FederationSettings(**{"rounds": 2, "evaluate_rows": 4} | federation),
    }
    return {name: block.model_dump() for name, block in blocks.items()}


class FederateProcess(subprocess.Popen):
    """A federate step that has started.

    Args:
        config: The step's configuration.
        files: Paths of model, partition and preprocessed rows.
        home: Folder of the outputs.
        cores: Number of cores.
        checkpoints: Folder of the checkpoints; by default a new one.
    """

    def __init__(self, config, files, home, cores, checkpoints=None):
        self.adapter, self.history = home / "adapter", home / "history.json"
        self.checkpoints, self.logs = checkpoints or home / "checkpoints", home / "logs"
        paths = {key: getattr(self, key) for key in ("adapter", "history", "checkpoints", "logs")}
        for stage, path in files.items():  # as a stage does when it has written its folder
            write_checksums(path, stage)
        options = [
            str(item) for key, path in (files | paths).items() for item in (f"--{key}", path)
        ]
        super().__init__(
            [*COMMAND, "--config", json.dumps(config), *options, "--cores", str(cores)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"TMPDIR": "/tmp", "CUDA_VISIBLE_DEVICES": ""},
        )

    def finish(self, returncode=0):
        """Wait until the step ends with a return code; return its output."""
        output, _ = self.communicate(timeout=PATIENCE)
        assert self.returncode == returncode, output
        return output

    def find_line(self, *prefixes):
        """Read the output up to a line with one of the prefixes; return if there is one."""
        return any(line.startswith(prefixes) for line in self.stdout)

    def wait_for_round(self, number):
        """Wait until the checkpoint of a round is written."""

        def is_done():
            folders = self.checkpoints.glob("*/round-?????")
            done = any(int(folder.name[-5:]) >= number for folder in folders)
            assert done or self.poll() is None, self.stdout.read()
            return done

        wait_until(is_done)

    def kill_and_wait(self):
        """Kill the step and wait for its children; return False if it had ended before."""
        if self.poll() is not None:
            return False
        children = self.list_children()
        self.kill()
        wait_for_exit(children, 60)
        self.wait()
        return True

    def list_children(self):
        """Return all processes below this one."""
        return psutil.Process(self.pid).children(recursive=True)

    def find_children(self, kind):
        """Return the processes of a kind (supernode, trainer) by client."""
        processes = {}
        for child in self.list_children():
            with suppress(psutil.NoSuchProcess):
                name, _, client = child.name().partition("_")
                if name == kind and client:
                    processes[int(client)] = child
        return processes

    def get_run_folder(self):
        """Return the run's temporary folder, which its reaper removes."""
        [folder] = find_run_folders(self.list_children())
        return folder

    def hash_adapter(self):
        """Return the SHA-256 of the adapter's weights."""
        return compute_file_sha256(self.adapter / "adapter_model.safetensors")

    def read_rounds(self):
        """Return the history's rounds; the first one trains nobody."""
        return read_json(self.history)["rounds"]

    def list_clients(self):
        """Return the clients that trained, by round."""
        return [[c["client"] for c in r["clients"]] for r in self.read_rounds()[1:]]


def wait_for_exit(processes, seconds=30):
    """Wait until all processes have ended."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert [process.cmdline() for process in alive] == []
