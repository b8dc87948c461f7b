"""Which client trains on which GPU, and how much of one it needs."""

import math
import os
import subprocess
import sys
from pathlib import Path

from blossomtune.config.federation import count_clients_per_gpu
from blossomtune.deployment.reaper import start_reaper
from blossomtune.errors import UserError
from blossomtune.federation.run import FederatedRun
from blossomtune.files import read_json
from blossomtune.gpus import build_gpu_environment, list_visible_gpus

CONFIG_KEY = "federation.gpus_per_client"
MEMORY_MARGIN = 1.1
"""What is measured is multiplied by this: a client's memory is not the same in every step."""


def resolve_gpu_share(run: FederatedRun) -> FederatedRun:
    """Return the run with the share of a GPU per client that this machine has: 0 without a GPU.

    Raises:
        UserError: where it is to be measured, and training does not work here.
    """
    federation, num_clients = run.spec.federation, len(run.spec.clients)
    wanted = federation.gpus_per_client
    if not wanted:
        return run
    if federation.engine.name == "external":
        return _set_gpu_share(run, 0)  # nobody trains here
    if not (gpus := list_visible_gpus()):
        print(
            f"{CONFIG_KEY} is {wanted}, and there is no GPU here: clients train on the CPU",
            flush=True,
        )
        return _set_gpu_share(run, 0)
    if wanted != "auto":
        return _set_gpu_share(run, wanted)
    used, total = _profile_in_subprocess(_set_gpu_share(run, 1.0), gpus[0])
    share = compute_gpu_share(used, total, num_clients, len(gpus))
    said = f"a client needs {used / 1e9:.1f} of {total / 1e9:.1f} GB of a GPU"
    print(f"{said}: {count_clients_per_gpu(share)} of them on each", flush=True)
    return _set_gpu_share(run, share)


def compute_gpu_share(used_bytes: int, total_bytes: int, num_clients: int, num_gpus: int) -> float:
    """The share of a GPU that a client gets: 1 / k, where k of them are on each.

    As many as fit with something to spare, but no more than let all clients train at once.

    Args:
        used: bytes that a client takes.
        total: bytes that a GPU has.
        clients: how many clients there are.
        gpus: how many GPUs there are.
    """
    return 1 / max(
        1, min(int(total_bytes / (MEMORY_MARGIN * used_bytes)), math.ceil(num_clients / num_gpus))
    )


def assign_gpus(num_clients: int, share: float, num_gpus: int, num_machines: int = 1) -> list[int]:
    """The GPU that each client trains on, all of them at once: as few on each as can be.

    Args:
        clients: how many clients there are; client i is on machine i modulo ``machines``.
        share: of a GPU's memory that each of them has.
        gpus: how many GPUs a machine has.
        machines: how many there are.

    Returns:
        Numbers in [0, gpus), by client.

    Raises:
        UserError: where they do not all fit.
    """
    there = num_gpus * num_machines
    if num_clients > there * count_clients_per_gpu(share):
        most = math.floor(1000 / math.ceil(num_clients / there)) / 1000
        raise UserError(
            f"{CONFIG_KEY} is {share:g}: {there} GPU(s) can take "
            f"{there * count_clients_per_gpu(share)} client(s) at once, and there are {num_clients}",
            f"with at most {most:g} all of them fit; with federation.engine: simulation they take "
            "turns",
        )
    return [client // num_machines % num_gpus for client in range(num_clients)]


def _set_gpu_share(run: FederatedRun, share: float) -> FederatedRun:
    resources = run.resources.model_copy(update={"gpus_per_client": share})
    return run.model_copy(update={"resources": resources})


def _profile_in_subprocess(run: FederatedRun, gpu: str) -> tuple[int, int]:
    """Bytes of a GPU that training takes, and that it has; by a process that ends with it."""
    with start_reaper() as scratch:
        file, to = Path(scratch, "run.json"), Path(scratch, "measured.json")
        run.save(file)
        command = [
            sys.executable,
            "-m",
            "blossomtune.deployment.profile_memory",
            str(file),
            str(to),
        ]
        code = {"PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(  # noqa: S603
            command, env=os.environ | build_gpu_environment(gpu) | code, check=False
        )
        if done.returncode:
            raise UserError(
                f"{CONFIG_KEY}: auto, and the step that was to be measured failed",
                "see above; or say a number",
            )
        return tuple(read_json(to))
