"""TODO docstring."""

import os
import threading
from contextlib import suppress

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container

from blossomtune.errors import UserError

RUN_LABEL = "ai.blossomtune.run"

STOP_TIMEOUT_SECONDS = 5


def connect_engine() -> docker.DockerClient:
    """A connection to the engine that DOCKER_HOST names.

    Raises:
        UserError: where none answers, or it is on another machine.
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
    """Removes all containers and networks of a run."""
    chosen = {"label": f"{RUN_LABEL}={run_id}"}
    containers = client.containers.list(all=True, filters=chosen)
    stoppers = [
        threading.Thread(target=_remove_container, args=(container,)) for container in containers
    ]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()
    for network in client.networks.list(filters=chosen):
        with suppress(NotFound):
            network.remove()


def _remove_container(container: Container) -> None:
    with suppress(APIError):  # it may be on its way out already
        container.stop(timeout=STOP_TIMEOUT_SECONDS)
    with suppress(NotFound):
        container.remove(force=True)
