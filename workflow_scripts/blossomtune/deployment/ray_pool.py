"""Pool of Ray workers that outlives nodes of the cluster.

Flower's own pool keeps giving clients to workers of a node that has died.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError

POLL_SECONDS, CHECK_SECONDS = 0.1, 2.0

Job = tuple[Any, Any, str, Any]
"""Function that returns the ClientApp, message, client and context."""


def count_places(node: dict[str, Any], num_cpus: float, num_gpus: float) -> int:
    """Return the number of clients that fit on a node at once.

    Args:
        node: Item of ``ray.nodes()``.
        num_cpus: CPUs per client.
        num_gpus: GPUs per client.

    Returns:
        The number; 0 for a node that has left.
    """
    resources = node["Resources"] if node["Alive"] else {}
    places = int(resources.get("CPU", 0) / num_cpus)
    return min(places, int(resources.get("GPU", 0) / num_gpus + 1e-9)) if num_gpus else places


class ResilientActorPool:
    """Replacement of Flower's ``BasicActorPool`` with the methods that its backend calls.

    It has at most one worker per client. A worker that stops answering gets no client until Ray
    has restarted it, on any node with room for it, and its client trains once more elsewhere.

    Args:
        actor_type: Flower's class of workers.
        client_resources: Options of a worker, such as ``num_cpus``.
        actor_kwargs: Arguments of the class.
        max_actors: Number of clients.
        timeout: Seconds to wait for a free worker.

    Attributes:
        num_actors: Number of workers.
        actors_capacity: Number of workers to create.
    """

    def __init__(
        self,
        actor_type: Any,
        client_resources: dict[str, float],
        actor_kwargs: dict[str, Any],
        max_actors: int,
        timeout: float,
    ) -> None:
        self._timeout = timeout
        self._create_actor: Callable[[], Any] = partial(
            actor_type.options(**client_resources).remote, **actor_kwargs
        )
        num_cpus, num_gpus = client_resources["num_cpus"], client_resources["num_gpus"]
        places = sum(count_places(node, num_cpus, num_gpus) for node in ray.nodes())
        self.actors_capacity = min(places, max_actors)
        self.num_actors = 0
        self._lock = threading.Lock()
        self._idle: dict[Any, Any] = {}  # actor by the result of a call that says that it lives

    def add_actors_to_pool(self, num_actors: int) -> None:
        """Create workers."""
        for _ in range(num_actors):
            self._add(self._create_actor())
        self.num_actors += num_actors

    def is_actor_available(self) -> bool:
        """Return whether a worker has nothing to do."""
        return bool(self._idle)

    def submit(self, *call: Any) -> Job:
        """Return the job of a call, which ``fetch_result_and_return_actor_to_pool`` runs."""
        job: Job = call[1]  # after a function that calls a worker
        return job

    def fetch_result_and_return_actor_to_pool(self, job: Job) -> tuple[Any, Any]:
        """Run a client on a worker, and once more if the worker dies.

        Args:
            job: The client's job.

        Returns:
            Reply and context.
        """
        try:
            return self._run(job)
        except RayActorError:
            return self._run(job)

    def add_actor_back_to_pool(self, job: Job) -> None:
        """Do nothing: a worker is back when its client has ended."""

    def terminate_all_actors(self) -> None:
        """Kill all workers, so that their CPUs are free at once."""
        with self._lock:
            for actor in self._idle.values():
                ray.kill(actor)

    def _run(self, job: Job) -> tuple[Any, Any]:
        actor = self._take()
        try:
            call = actor.run.options(max_task_retries=0)
            _, message, context = ray.get(call.remote(*job))
        finally:
            self._add(actor)
        return message, context

    def _take(self) -> Any:
        """Remove a worker that answers from the idle ones, and return it."""
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            with self._lock:
                ready = ray.wait(list(self._idle), timeout=0)[0] if self._idle else []
                actor = self._idle.pop(ready[0]) if ready else None
            if actor is None:
                time.sleep(POLL_SECONDS)
                continue
            check = actor.__ray_ready__.options(max_task_retries=-1).remote()
            try:
                ray.get(check, timeout=CHECK_SECONDS)
            except GetTimeoutError:
                with self._lock:
                    self._idle[check] = actor
            else:
                return actor
        raise TimeoutError(f"no worker of the Ray cluster was free for {self._timeout:g} s")

    def _add(self, actor: Any) -> None:
        check = actor.__ray_ready__.options(max_task_retries=-1).remote()
        with self._lock:
            self._idle[check] = actor
