"""Connect to a running Ray cluster, and check that its nodes can train."""

import logging
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import blossomtune
from blossomtune.deployment.ray_pool import count_places
from blossomtune.errors import UserError
from blossomtune.federation.run import FederatedRun
from blossomtune.package_versions import get_package_versions
from blossomtune.text_cleaning import clean_line

CONFIG_KEY = "federation.engine.address"
CONNECT_SECONDS = 10


def connect(address: str) -> None:
    """Connect this process to a cluster, whose workers import this package as it is here.

    Args:
        address: Address as ``ray.init`` takes it.

    Raises:
        UserError: If there is no cluster, or it has another version of Ray or Python.
    """
    _require_listener(address)
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # leave CUDA_VISIBLE_DEVICES alone
    packages = {"py_modules": [str(Path(blossomtune.__file__).parent)]}
    variables = {"FLWR_TELEMETRY_ENABLED": "0", "TQDM_DISABLE": "1"}
    try:
        ray.init(
            address=address,
            runtime_env={**packages, "excludes": ["**/__pycache__"], "env_vars": variables},
            log_to_driver=False,  # clients reply with their errors
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        raise UserError(
            f"{CONFIG_KEY}: cannot join the Ray cluster {address!r}: {clean_line(str(error))}",
            "`ray start` on this machine joins it to a cluster; all machines need the versions of "
            "envs/requirements.lock",
        ) from error


def _require_listener(address: str) -> None:
    """Raise if nothing listens at an address; Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:  # auto
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"{CONFIG_KEY}: no Ray cluster at {address!r}: {error}",
            "`ray start --head` prints the address of a cluster that it starts",
        ) from error


def list_nodes(run: FederatedRun) -> dict[str, str]:
    """Return the address of each node on which a client fits, by node id.

    Args:
        run: The run, with the resources of a client.

    Returns:
        Addresses by id.

    Raises:
        UserError: If no client fits on any node.
    """
    threads, gpus = run.spec.federation.threads_per_client, run.resources.gpus_per_client
    nodes = {
        node["NodeID"]: node["NodeManagerAddress"]
        for node in ray.nodes()
        if count_places(node, threads, gpus)
    }
    if not nodes:
        raise UserError(
            f"{CONFIG_KEY}: no node of the Ray cluster has {threads} CPUs and {gpus:g} GPUs for "
            "a client",
            "lower federation.threads_per_client or federation.gpus_per_client, or start nodes "
            "with more",
        )
    return nodes


def call_on_node(node: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Start a function on a node, even if all of its CPUs are in use.

    Args:
        node: Id of the node.
        function: Function of a module.
        *arguments: Its arguments.

    Returns:
        Reference to the result.
    """
    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(function)  # a piece is written once
    return task.options(scheduling_strategy=strategy).remote(*arguments)


def check_packages(nodes: dict[str, str]) -> None:
    """Compare the packages of nodes with those of this machine.

    Args:
        nodes: Addresses by node id.

    Raises:
        UserError: If a node has another version, or a package is missing there.
    """
    expected = get_package_versions()
    calls = {node: call_on_node(node, get_package_versions) for node in nodes}
    for node, call in calls.items():
        try:
            versions = ray.get(call)
        except RayError as error:
            reason = clean_line(str(error).strip().rpartition("\n")[2])
            raise UserError(
                f"{CONFIG_KEY}: node {nodes[node]} cannot train: {reason}",
                "install envs/requirements.lock there",
            ) from error
        for name, version in expected.items():
            if versions[name] != version:
                raise UserError(
                    f"{CONFIG_KEY}: node {nodes[node]} has {name} {versions[name]}, and this "
                    f"machine {version}",
                    "install envs/requirements.lock there",
                )


def check_client_state(run: FederatedRun, nodes: dict[str, str]) -> None:
    """Require shared checkpoints if clients keep state, since they move between nodes.

    Args:
        run: The run.
        nodes: Addresses by node id.

    Raises:
        UserError: If a node cannot write to this machine's folder of checkpoints.
    """
    if not run.spec.has_client_state:
        return
    folder = run.paths.checkpoints
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / f".shared-{secrets.token_hex(8)}"
    marker.touch()
    try:
        results = {node: call_on_node(node, _can_write_beside, str(marker)) for node in nodes}
        private = [nodes[node] for node, result in results.items() if not ray.get(result)]
    finally:
        marker.unlink()
    if private:
        raise UserError(
            f"{CONFIG_KEY}: clients keep state between rounds in {folder}, and nodes "
            f"{', '.join(private)} do not share that folder or may not write to it",
            "put the results on storage that all nodes share, or use optimizer_state: fresh, "
            "precision float32 or bfloat16, and a strategy and an aggregation without state",
        )


def _can_write_beside(marker: str) -> bool:
    return Path(marker).exists() and os.access(Path(marker).parent, os.W_OK)
