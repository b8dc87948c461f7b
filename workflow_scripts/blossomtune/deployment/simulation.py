"""Run a federation with Flower's simulation engine, on this machine or on a Ray cluster."""

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from blossomtune.cli import filter_warnings
from blossomtune.deployment.reaper import start_reaper
from blossomtune.federation.run import FederatedRun
from blossomtune.modeling.devices import count_devices, select_device

if TYPE_CHECKING:  # Flower reads the environment when it is imported
    from flwr.app import Context

logger = logging.getLogger(__name__)


def simulate(run: FederatedRun) -> None:
    """Run a federation; the server writes adapter and history.

    As many clients train at once as cores and GPUs allow, and the others take turns. A worker
    keeps model and data between rounds. The number of workers does not change the result.
    """
    with start_reaper() as scratch:
        os.environ |= {
            "FLWR_HOME": scratch,
            "FLWR_TELEMETRY_ENABLED": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # by default, training yields to all other processes
            "RAY_prestart_worker_first_driver": "0",  # actors get new workers in any case
            # Flower ends its actors by an error, which Ray reports as a failure to be retried.
            "RAY_DEDUP_LOGS_SKIP_REGEX": r"Task ClientAppActor\.(terminate|__ray_ready__) failed",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # leave CUDA_VISIBLE_DEVICES alone
        }
        import ray  # noqa: F401 - before the filter, since it shows deprecations of all libraries
        from flwr.simulation import run_simulation

        from blossomtune.federation.client.client_app import build_client_app
        from blossomtune.federation.server.server_app import build_server_app

        logging.getLogger("flwr").setLevel(logging.ERROR)
        filter_warnings()
        client_run = run.redact_for_clients()
        address = getattr(run.spec.federation.engine, "address", None)
        load_client_run = _prepare_cluster(address, client_run, scratch) if address else None
        run_simulation(
            server_app=build_server_app(lambda _: run),
            client_app=build_client_app(load_client_run or (lambda _: client_run)),
            num_supernodes=len(run.spec.clients),
            backend_config=_backend_config(run, scratch),
        )


def _prepare_cluster(
    address: str, run: FederatedRun, scratch_dir: str
) -> "Callable[[Context], FederatedRun]":
    """Connect to a Ray cluster that can train, and return how clients load the run there."""
    from blossomtune.deployment import flower_internal, ray_cluster, ray_files, ray_pool

    ray_cluster.connect(address)
    nodes = ray_cluster.list_nodes(run)
    ray_cluster.check_packages(nodes)
    ray_cluster.check_client_state(run, nodes)
    copies = ray_files.copy_files(run, nodes, address, scratch_dir)
    pool = partial(
        ray_pool.ResilientActorPool,
        max_actors=len(run.spec.clients),
        timeout=run.spec.federation.round_timeout,
    )
    flower_internal.replace_actor_pool(pool)
    logger.info("%d nodes of the Ray cluster %s train", len(nodes), address)
    return ray_files.build_run_loader(run, copies)


def _backend_config(run: FederatedRun, scratch_dir: str) -> dict[str, Any]:
    threads, gpus = run.spec.federation.threads_per_client, run.resources.gpus_per_client
    if getattr(run.spec.federation.engine, "address", None):  # this process is connected
        return {
            "init_args": {},
            "client_resources": {"num_cpus": threads, "num_gpus": gpus, "max_restarts": -1},
        }
    workers = max(1, min(run.resources.cores // threads, len(run.spec.clients)))
    init = {
        "num_cpus": workers * threads,
        "object_store_memory": 256 * 2**20,  # adapters and messages only
        "_temp_dir": scratch_dir,
        "include_dashboard": False,  # nobody looks at its pages
        "log_to_driver": False,  # clients reply with their errors
    }
    if gpus and select_device().type == "mps":  # Ray does not find it
        init["num_gpus"] = count_devices()
    # a killed worker is restarted, and its client retries once per round
    restarts = {"max_restarts": -1, "max_task_retries": 1}
    return {
        "init_args": init,
        "client_resources": {"num_cpus": threads, "num_gpus": gpus, **restarts},
    }
