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

from blossomtune.config.engines import Docker
from blossomtune.errors import UserError
from blossomtune.gpus import visible
from blossomtune.launch.guard import leave
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
        scratch: a folder of this run, which its guard removes.
        engine: image and limits.
    """

    listens, host = "0.0.0.0", SUPERLINK  # noqa: S104 - of its container
    port, keys, machines = 0, None, 1

    def __init__(self, logs: Path, scratch: Path, engine: Docker) -> None:
        self._logs, self._scratch, self._engine = logs, scratch, engine
        self._run = scratch.name  # which no other run has
        self._running: dict[str, Container] = {}
        self._writers: list[threading.Thread] = []
        self._looked, self._ended = 0.0, {}

    def __enter__(self) -> Self:
        self._client = connect()
        image = self._engine.image
        try:
            self._client.images.get(image)
        except ImageNotFound as error:
            raise UserError(
                f"federation.engine.image: this Docker engine has no image {image!r}",
                f"docker build -f containers/Dockerfile -t {image} .",
            ) from error
        rootless = any("rootless" in o for o in self._client.info().get("SecurityOptions") or [])
        self._own = not os.getuid() and not rootless  # files must be given to the container's user
        user = USER if self._own else 0 if rootless else os.getuid()
        self._user = f"{user}:{user if self._own or rootless else os.getgid()}"
        leave(self._scratch, [sys.executable, "-m", __spec__.name, self._run])
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
        folders = (part.home, *part.writes)
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        if self._own:
            for path in (*folders, *part.secrets):
                os.chown(path, USER, USER)
            for path in part.reads:
                _open_to_others(path)
        reads = (CODE, *part.reads, *part.secrets)
        mounts = {str(path): {"bind": str(path), "mode": "ro"} for path in reads}
        mounts |= {str(path): {"bind": str(path), "mode": "rw"} for path in folders}
        container = self._client.containers.create(
            self._engine.image,
            ["python", *part.program],
            name=f"blossomtune-{self._run}-{part.name}",
            hostname=part.name,
            network=self._network.name,
            networking_config={
                self._network.name: self._client.api.create_endpoint_config(aliases=[part.name])
            },
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
            device_requests=_gpus(part),
            healthcheck=_health(part),
            **self._limits(part),
        )
        self._running[part.name] = container
        container.start()
        writer = threading.Thread(target=self._write, args=(part.name, container), daemon=True)
        writer.start()
        self._writers.append(writer)

    def _limits(self, part: Part) -> dict[str, Any]:
        if part.client is None:
            return {}
        limits: dict[str, Any] = {}
        if self._engine.cpus:
            limits["nano_cpus"] = int(self._engine.cpus * 1e9)
        if self._engine.memory_mb:
            limits["mem_limit"] = limits["memswap_limit"] = f"{self._engine.memory_mb}m"
        return limits

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


def _open_to_others(path: Path) -> None:
    for file in [path, *path.rglob("*")]:
        if not file.stat().st_mode & 0o004:
            raise UserError(
                f"{file} can be read by root alone, and containers run as user {USER}",
                f"chmod -R a+rX {path}; or run as another user than root",
            )


def _gpus(part: Part) -> list[DeviceRequest]:
    if part.gpu is None:
        return []
    return [DeviceRequest(device_ids=[visible()[part.gpu]], capabilities=[["gpu"]])]


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
