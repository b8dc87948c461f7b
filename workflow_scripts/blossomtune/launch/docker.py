"""The docker engine: every part in a container of its own, by any engine that DOCKER_HOST names.

A container sees its own folder, the files that it reads, and nothing else of this machine; it has
no capabilities, a root file system that it cannot write to, and a user that is not root. SuperNodes
are on a network that leads to the SuperLink and nowhere else.
"""

import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import DeviceRequest

from blossomtune.errors import UserError
from blossomtune.launch.parts import CODE, SUPERLINK, Part

LABEL = "ai.blossomtune.run"
USER = 1000
"""Who a container's processes are where this process is root."""

GRACE_SECONDS = 5
LOOK_SECONDS = 1.0
"""Containers are asked how they are no more often than that."""


class Containers:
    """Parts as containers; see ``Runner``.

    Args:
        logs: a folder for what they say.
        run: a name that no other run has; containers and network carry it.
        image: that has the packages of our lock.
        memory_mb: that a SuperNode may use; None for all there is.
        cpus: that a SuperNode may use.
    """

    listens, host = "0.0.0.0", SUPERLINK  # noqa: S104 - of its container

    def __init__(
        self, logs: Path, run: str, image: str, memory_mb: int | None, cpus: float
    ) -> None:
        self._logs, self._run, self._image = logs, run, image
        self._memory, self._cpus = memory_mb, cpus
        self._running: dict[str, Container] = {}
        self._writers: list[threading.Thread] = []
        self._looked, self._ended = 0.0, {}

    def __enter__(self) -> Self:
        self._client = connect()
        try:
            self._client.images.get(self._image)
        except ImageNotFound as error:
            raise UserError(
                f"there is no image {self._image!r} on this Docker engine",
                f"docker build -f containers/Dockerfile -t {self._image} .",
            ) from error
        rootless = any("rootless" in o for o in self._client.info().get("SecurityOptions") or [])
        # In a rootless engine a container's root is this user, and nobody else's.
        own = f"{os.getuid()}:{os.getgid()}" if os.getuid() else f"{USER}:{USER}"
        self._user = "0:0" if rootless else own
        self._network = self._client.networks.create(
            f"blossomtune-{self._run}", internal=True, labels={LABEL: self._run}
        )
        return self

    def __exit__(self, *_: object) -> None:
        clean(self._client, self._run)
        for writer in self._writers:
            writer.join(GRACE_SECONDS)
        self._client.close()

    def start(self, part: Part) -> None:
        """Starts a part."""
        if not os.getuid():
            for path in (part.home, *part.writes):
                path.mkdir(parents=True, exist_ok=True)
                os.chown(path, USER, USER)
        mounts = {str(path): {"bind": str(path), "mode": "ro"} for path in (CODE, *part.reads)}
        mounts |= {str(p): {"bind": str(p), "mode": "rw"} for p in (part.home, *part.writes)}
        limits: dict[str, Any] = {}
        if part.client is not None:
            limits = {"nano_cpus": int(self._cpus * 1e9)}
            if self._memory:
                limits |= {"mem_limit": f"{self._memory}m", "memswap_limit": f"{self._memory}m"}
        container = self._client.containers.create(
            self._image,
            ["python", *part.program],
            name=f"blossomtune-{self._run}-{part.name}",
            hostname=part.name,
            network=self._network.name,
            labels={LABEL: self._run},
            environment=part.environment,
            volumes=mounts,
            working_dir=str(part.home),
            user=self._user,
            read_only=True,
            tmpfs={"/tmp": "mode=1777"},  # noqa: S108 - of the container
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            init=True,
            pids_limit=4096,
            device_requests=_gpus(part.gpus),
            healthcheck=_health(part),
            **limits,
        )
        self._network.disconnect(container)
        self._network.connect(container, aliases=[part.name])
        self._running[part.name] = container
        container.start()
        writer = threading.Thread(target=self._write, args=(part.name, container), daemon=True)
        writer.start()
        self._writers.append(writer)

    def stop(self, name: str) -> None:
        """Stops a part and removes its container."""
        container = self._running.pop(name)
        self._ended.pop(name, None)
        _remove(container)

    def ended(self) -> Mapping[str, int]:
        """The exit status of parts that have ended by themselves, by name."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            for name, container in self._running.items():
                container.reload()
                if container.status in ("exited", "dead"):
                    self._ended[name] = int(container.attrs["State"]["ExitCode"])
        return dict(self._ended)

    def _write(self, name: str, container: Container) -> None:
        with (self._logs / f"{name}.log").open("ab", buffering=0) as log, suppress(DockerException):
            for line in container.logs(stream=True, follow=True):
                log.write(line)


def connect() -> docker.DockerClient:
    """A connection to the engine that DOCKER_HOST names.

    Raises:
        UserError: where none answers.
    """
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


def clean(client: docker.DockerClient, run: str) -> None:
    """Removes all containers and networks of a run."""
    chosen = {"label": f"{LABEL}={run}"}
    containers = client.containers.list(all=True, filters=chosen)
    stoppers = [threading.Thread(target=_remove, args=(container,)) for container in containers]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()
    for network in client.networks.list(filters=chosen):
        with suppress(NotFound):
            network.remove()


def _remove(container: Container) -> None:
    with suppress(APIError):  # it may be on its way out already
        container.stop(timeout=GRACE_SECONDS)
    with suppress(NotFound):
        container.remove(force=True)


def _gpus(wanted: float) -> list[DeviceRequest]:
    return [DeviceRequest(count=-1, capabilities=[["gpu"]])] if wanted else []


def _health(part: Part) -> dict[str, Any]:
    """Asks whether the part's socket takes connections."""
    socket = part.home / f"{part.name.partition('_')[0]}.sock"
    seconds = 10**9
    return {
        "test": ["CMD", "python", "-m", "blossomtune.launch.healthy", str(socket)],
        "interval": 10 * seconds,
        "timeout": 5 * seconds,
        "start_period": 60 * seconds,
        "retries": 3,
    }


if __name__ == "__main__":  # for the guard: what a killed run has left
    clean(connect(), sys.argv[1])
