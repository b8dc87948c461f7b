"""Connect to a Docker engine and remove what a run has created there."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container

from blossomtune.errors import UserError

RUN_LABEL = "ai.blossomtune.run"
"""Label of a run's containers and network; its value is the name of the run's scratch folder."""

STOP_TIMEOUT_SECONDS = 5


def connect_engine() -> docker.DockerClient:
    """Connect to the engine that DOCKER_HOST names.

    Returns:
        A client of the engine.

    Raises:
        UserError: If no engine responds, or it may be on another machine.
    """
    address = os.environ.get("DOCKER_HOST") or "unix://"
    if not address.startswith("unix://"):
        raise UserError(
            f"DOCKER_HOST is {address!r}, and that engine does not see this machine's files",
            "name the socket of an engine on this machine: DOCKER_HOST=unix:///path/docker.sock",
        )
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        where = os.environ.get("DOCKER_HOST", "the default socket")
        raise UserError(
            f"no Docker engine answers at {where}: {error}",
            "start one, or name its socket in DOCKER_HOST; or use another federation.engine",
        ) from error
    return client


def remove_run(client: docker.DockerClient, run_id: str) -> None:
    """Remove all containers and networks of a run.

    Args:
        client: Client of the engine.
        run_id: Value of the run's label.
    """
    label = f"{RUN_LABEL}={run_id}"
    containers = client.containers.list(all=True, filters={"label": label})
    if containers:
        with ThreadPoolExecutor(len(containers)) as pool:  # each takes up to the timeout
            list(pool.map(remove_container, containers))
    for network in client.networks.list(filters={"label": label}):
        with suppress(NotFound):
            network.remove()


def remove_container(container: Container) -> None:
    """Stop a container and remove it, if it still exists."""
    with suppress(APIError):  # it may be stopping already
        container.stop(timeout=STOP_TIMEOUT_SECONDS)
    with suppress(NotFound):
        container.remove(force=True)
