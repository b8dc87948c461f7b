"""Measure time and memory of a training step: ``python -m … RUN_FILE OUTPUT``."""

import math
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from blossomtune.cli import setup_process
from blossomtune.deployment.backend import CODE_DIR
from blossomtune.deployment.profile_memory import PROFILE_STEPS, train_largest_batch
from blossomtune.deployment.reaper import start_reaper
from blossomtune.errors import UserError
from blossomtune.federation.client.worker import get_worker
from blossomtune.federation.run import FederatedRun
from blossomtune.files import read_json, write_json
from blossomtune.gpus import build_gpu_environment, list_visible_gpus
from blossomtune.modeling import devices
from blossomtune.planning.machine import get_peak_process_memory


@dataclass(frozen=True)
class MeasuredStep:
    """Time and memory of a client that trains on its largest batch.

    Attributes:
        seconds: Seconds per optimizer step.
        ram: Peak main memory of the process in bytes.
        gpu: Peak memory per GPU in bytes, 0 without one.
    """

    seconds: float
    ram: int
    gpu: int


def measure_step(run: FederatedRun) -> MeasuredStep:
    """Load the model, train on the longest rows, and return time and memory.

    Args:
        run: The federation.

    Returns:
        The measurement, of this process.
    """
    get_worker(run)
    start = time.perf_counter()
    train_largest_batch(run)
    seconds = (time.perf_counter() - start) / PROFILE_STEPS
    gpu = devices.get_peak_memory(devices.select_device(run.resources.device))
    num_gpus = max(1, int(run.resources.gpus_per_client))
    return MeasuredStep(seconds, get_peak_process_memory(), gpu // num_gpus)


def measure_step_in_subprocess(run: FederatedRun) -> MeasuredStep:
    """Measure a step in a process of its own, whose memory is that of a client.

    Args:
        run: The federation.

    Returns:
        The measurement.

    Raises:
        UserError: If the step fails.
    """
    with start_reaper() as scratch:
        run_file, output = Path(scratch, "run.json"), Path(scratch, "step.json")
        run.save(run_file)
        num_gpus = math.ceil(run.resources.gpus_per_client)
        gpus = list_visible_gpus()[:num_gpus] if num_gpus else []
        variables = {"PYTHONPATH": str(CODE_DIR)}
        variables |= build_gpu_environment(",".join(gpus)) if gpus else {}
        command = [sys.executable, "-m", __spec__.name, str(run_file), str(output)]
        status = subprocess.run(command, env=os.environ | variables, check=False).returncode  # noqa: S603
        if status:
            raise UserError("the training step that was to be measured failed", "see above")
        return MeasuredStep(**read_json(output))


if __name__ == "__main__":
    setup_process()
    write_json(Path(sys.argv[2]), asdict(measure_step(FederatedRun.load(sys.argv[1]))))
