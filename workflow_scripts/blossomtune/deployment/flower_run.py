"""Start a Flower run on a SuperLink and act as its ServerApp process."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flwr.serverapp import Grid

from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment.flower_grid import PollFailures, ReconnectingGrid
from blossomtune.deployment.flower_tasks import acquire_task, connect_runtime, heartbeat
from blossomtune.deployment.node_registry import NodeRegistry
from blossomtune.errors import UserError
from blossomtune.version import __version__

APP_CONFIG = f"""\
[project]
name = "blossomtune"
version = "{__version__}"

[tool.flwr.app]
publisher = "blossomtune"

[tool.flwr.app.components]
serverapp = "blossomtune.federation.server.server_app:app"
clientapp = "blossomtune.federation.client.client_app:app"
"""
"""The app that Flower requires for a run; server and trainers have the code already."""

START_TIMEOUT_SECONDS = 60


@contextmanager
def run_session(
    socket_path: Path, key_files: Sequence[Path], poll_failures: PollFailures
) -> Iterator[tuple[Grid, dict[int, int] | None, dict[int, str]]]:
    """Register SuperNodes, start a run and acquire its ServerApp task.

    Args:
        socket_path: Socket of the SuperLink.
        key_files: Files of the SuperNodes' public keys, by client; empty without authentication.
        poll_failures: See ``ReconnectingGrid``.

    Yields:
        The grid of the run's nodes; the client of each node id, or None without authentication,
        when nobody knows which client a node belongs to; the fingerprint of each node's key, which
        follows keys that are replaced.

    Raises:
        UserError: If the SuperLink does not start the run in time.
    """
    version = flower.RuntimeVersionHttpInterceptor(component_name="flwr-cli")
    with flower.connect_client(flower.ControlHttpClient, socket_path, [version]) as control:
        registry = NodeRegistry(control, key_files)
        content, _ = flower.build_fab_from_files({"pyproject.toml": APP_CONFIG.encode()})
        app = flower.Fab(hashlib.sha256(content).hexdigest(), content, {})
        control.StartRun(flower.StartRunRequest(fab=flower.fab_to_proto(app)))
        token = _acquire_server_task(socket_path)
        with connect_runtime(socket_path, token) as runtime, heartbeat(runtime):
            task = runtime.PullTaskInput(flower.PullTaskInputRequest())
            flower.set_task_identity(task.task_id, task.run.run_id, task.context.node_id)
            owners = {node: client for client, node in registry.node_ids.items()}
            grid = ReconnectingGrid(
                socket_path, token, poll_failures, registry.node_ids, registry.poll_changes
            )
            grid.set_run(flower.run_from_proto(task.run))
            try:
                yield grid, owners or None, registry.fingerprints
            finally:
                grid.close()


def _acquire_server_task(socket_path: Path) -> str:
    end = time.monotonic() + START_TIMEOUT_SECONDS
    with connect_runtime(socket_path) as runtime:
        while time.monotonic() < end:
            if token := acquire_task(runtime, flower.TaskType.SERVER_APP):
                return token
            time.sleep(0.1)
    raise UserError("the SuperLink did not start the run", "see its log beside this one")
