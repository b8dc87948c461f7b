"""Start a Flower run on a SuperLink and act as its ServerApp process."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from flwr.serverapp import Grid

from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment.flower_grid import PollFailures, ReconnectingGrid
from blossomtune.deployment.flower_tasks import acquire_task, connect_runtime, heartbeat
from blossomtune.errors import UserError

APP_DIR = Path(__file__).resolve().parents[2]
"""Folder of the Flower app, with its pyproject.toml."""

START_TIMEOUT_SECONDS = 60


@contextmanager
def run_session(
    socket_path: Path, public_keys: Sequence[EllipticCurvePublicKey], poll_failures: PollFailures
) -> Iterator[tuple[Grid, dict[int, int] | None]]:
    """Register SuperNodes, start a run and acquire its ServerApp task.

    Args:
        socket_path: Socket of the SuperLink.
        public_keys: Public keys of the SuperNodes, by client; empty without authentication.
        poll_failures: See ``ReconnectingGrid``.

    Yields:
        The grid of the run's nodes, and the client of each node id; None without authentication,
        when nobody knows which client a node belongs to.

    Raises:
        UserError: If the SuperLink does not start the run in time.
    """
    version = flower.RuntimeVersionHttpInterceptor(component_name="flwr-cli")
    with flower.connect_client(flower.ControlHttpClient, socket_path, [version]) as control:
        owners = {}
        for client, key in enumerate(public_keys):
            request = flower.RegisterNodeRequest(public_key=flower.public_key_to_bytes(key))
            owners[control.RegisterNode(request).node_id] = client
        content = flower.build_fab_from_disk(APP_DIR)
        app = flower.Fab(hashlib.sha256(content).hexdigest(), content, {})
        control.StartRun(flower.StartRunRequest(fab=flower.fab_to_proto(app)))
    token = _acquire_server_task(socket_path)
    with connect_runtime(socket_path, token) as runtime, heartbeat(runtime):
        task = runtime.PullTaskInput(flower.PullTaskInputRequest())
        flower.set_task_identity(task.task_id, task.run.run_id, task.context.node_id)
        node_ids = {client: node for node, client in owners.items()}
        grid = ReconnectingGrid(socket_path, token, poll_failures, node_ids)
        grid.set_run(flower.run_from_proto(task.run))
        try:
            yield grid, owners or None
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
