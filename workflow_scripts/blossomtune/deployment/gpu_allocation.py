"""Resolve the share of a GPU per client, and assign clients to GPUs."""

import logging
import math
import os
import subprocess
import sys
from pathlib import Path

from blossomtune.config.engines import trains_elsewhere
from blossomtune.config.federation import count_clients_per_gpu
from blossomtune.deployment.backend import CODE_DIR
from blossomtune.deployment.reaper import start_reaper
from blossomtune.errors import UserError
from blossomtune.federation.run import FederatedRun
from blossomtune.files import read_json
from blossomtune.gpus import build_gpu_environment, list_visible_gpus

logger = logging.getLogger(__name__)

CONFIG_KEY = "federation.gpus_per_client"
MEMORY_MARGIN = 1.1
"""Factor on measured memory, since a client's use varies between steps."""


def resolve_gpu_share(run: FederatedRun) -> FederatedRun:
    """Set the share of a GPU per client that the configuration asks for, or 0 without a GPU.

    Args:
        run: The run, whose configuration may say ``auto``: then the memory is measured.

    Returns:
        The run with other resources.

    Raises:
        UserError: If a client needs more GPUs than there are, if the type of the base needs a GPU
            and there is none, or if the memory is measured and training fails.
    """
    federation, num_clients = run.spec.federation, len(run.spec.clients)
    configured = federation.gpus_per_client
    if not configured:
        return run
    if trains_elsewhere(federation.engine):
        return _set_gpu_share(run, 0)
    address = getattr(federation.engine, "address", None)
    if not (gpus := list_visible_gpus()):
        if address:
            raise UserError(
                f"{CONFIG_KEY} is {configured}, and the machine of the server has no GPU",
                "start the workflow on a node of the Ray cluster that has one, since the server "
                "says on what the adapter was trained",
            )
        if run.spec.training.base_dtype == "float16":
            raise UserError(
                "training.base_dtype: float16 needs a GPU, and there is none here",
                "use bfloat16 or float32 on a CPU",
            )
        logger.warning(
            "%s is %s, and there is no GPU here: clients train on the CPU", CONFIG_KEY, configured
        )
        return _set_gpu_share(run, 0)
    if configured != "auto":
        if configured > len(gpus) and not address:
            raise UserError(
                f"{CONFIG_KEY} is {configured:g}, and there are {len(gpus)} GPU(s) here"
            )
        return _set_gpu_share(run, configured)
    used, total = _profile_in_subprocess(_set_gpu_share(run, 1.0), gpus[0])
    share = compute_gpu_share(used, total, num_clients, len(gpus))
    logger.info(
        "a client needs %.1f of %.1f GB of a GPU: %d of them on each",
        used / 1e9,
        total / 1e9,
        count_clients_per_gpu(share),
    )
    return _set_gpu_share(run, share)


def compute_gpu_share(used_bytes: int, total_bytes: int, num_clients: int, num_gpus: int) -> float:
    """Return the share of a GPU per client: 1 / k for k clients per GPU.

    k is limited by memory, with a margin, and by the k at which all clients train at once.

    Args:
        used_bytes: Memory that a client uses.
        total_bytes: Memory of a GPU.
        num_clients: Number of clients.
        num_gpus: Number of GPUs.

    Returns:
        A share in (0, 1].
    """
    fitting = int(total_bytes / (MEMORY_MARGIN * used_bytes))
    return 1 / max(1, min(fitting, math.ceil(num_clients / num_gpus)))


def assign_gpus(
    num_clients: int, share: float, num_gpus: int, num_machines: int = 1
) -> list[tuple[int, ...]]:
    """Assign all clients to GPUs evenly.

    Args:
        num_clients: Number of clients; client i is on machine i modulo ``num_machines``.
        share: Share of a GPU's memory per client, or the number of its GPUs.
        num_gpus: Number of GPUs per machine.
        num_machines: Number of machines.

    Returns:
        Indices in [0, num_gpus), by client. GPUs of a client that has several are its own.

    Raises:
        UserError: If they do not fit at once.
    """
    total = num_gpus * num_machines
    gpus_each = max(1, int(share))
    slots = num_gpus // gpus_each  # per machine, each for one client or for those that share a GPU
    capacity = slots * num_machines * count_clients_per_gpu(min(share, 1))
    if num_clients > capacity:
        if num_clients <= total:
            max_share = float(num_gpus // math.ceil(num_clients / num_machines))
        else:
            max_share = math.floor(1000 / math.ceil(num_clients / total)) / 1000
        raise UserError(
            f"{CONFIG_KEY} is {share:g}: {total} GPU(s) can take {capacity} client(s) at once, "
            f"and there are {num_clients}",
            f"with at most {max_share:g} all of them fit; with federation.engine: simulation they "
            "take turns",
        )
    first = [client // num_machines % slots * gpus_each for client in range(num_clients)]
    return [tuple(range(index, index + gpus_each)) for index in first]


def _set_gpu_share(run: FederatedRun, share: float) -> FederatedRun:
    resources = run.resources.model_copy(update={"gpus_per_client": share})
    return run.model_copy(update={"resources": resources})


def _profile_in_subprocess(run: FederatedRun, gpu: str) -> tuple[int, int]:
    """Return bytes of a GPU that training uses and that it has; this process never uses CUDA."""
    with start_reaper() as scratch:
        run_file, output = Path(scratch, "run.json"), Path(scratch, "memory.json")
        run.save(run_file)
        module = "blossomtune.deployment.profile_memory"
        command = [sys.executable, "-m", module, str(run_file), str(output)]
        variables = build_gpu_environment(gpu) | {"PYTHONPATH": str(CODE_DIR)}
        status = subprocess.run(command, env=os.environ | variables, check=False).returncode  # noqa: S603
        if status:
            raise UserError(
                f"{CONFIG_KEY}: auto, and the step that was to be measured failed",
                "see above; or say a number",
            )
        used, total = read_json(output)
        return used, total
