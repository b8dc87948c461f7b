"""Run a federation on this machine with Flower's simulation engine on Ray."""

import logging
import os
from typing import Any

from blossomtune.cli import filter_warnings
from blossomtune.deployment.reaper import start_reaper
from blossomtune.federation.run import FederatedRun
from blossomtune.modeling.devices import count_devices, select_device


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
            # Flower ends its actors by an error, which Ray reports as a failure to be retried.
            "RAY_DEDUP_LOGS_SKIP_REGEX": r"Task ClientAppActor\.terminate failed",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # leave CUDA_VISIBLE_DEVICES alone
        }
        import ray  # noqa: F401 - before the filter, since it shows deprecations of all libraries
        from flwr.simulation import run_simulation

        from blossomtune.federation.client.client_app import build_client_app
        from blossomtune.federation.server.server_app import build_server_app

        logging.getLogger("flwr").setLevel(logging.ERROR)
        filter_warnings()
        client_run = run.redact_for_clients()
        run_simulation(
            server_app=build_server_app(lambda _: run),
            client_app=build_client_app(lambda _: client_run),
            num_supernodes=len(run.spec.clients),
            backend_config=_backend_config(run, scratch),
        )


def _backend_config(run: FederatedRun, scratch_dir: str) -> dict[str, Any]:
    threads, gpus = run.spec.federation.threads_per_client, run.resources.gpus_per_client
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
