"""Start a Flower run on a SuperLink and act as its ServerApp process."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from flwr.serverapp import Grid

from blossomtune.deployment.flower_grid import PollFailures, ReconnectingGrid
from blossomtune.deployment.flower_internal import (
    ControlHttpClient,
    Fab,
    PullTaskInputRequest,
    RegisterNodeRequest,
    RuntimeVersionHttpInterceptor,
    StartRunRequest,
    TaskType,
    build_fab_from_disk,
    connect_client,
    fab_to_proto,
    public_key_to_bytes,
    run_from_proto,
    set_task_identity,
)
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
        socket_path: socket of the SuperLink.
        public_keys: public keys of the SuperNodes, by client; empty without authentication.
        poll_failures: see ``ReconnectingGrid``.

    Yields:
        The grid of the run's nodes, and the client of each node id; None without authentication,
        when nobody knows which client a node belongs to.

    Raises:
        UserError: where the SuperLink does not start the run in time.
    """
    version = RuntimeVersionHttpInterceptor(component_name="flwr-cli")
    with connect_client(ControlHttpClient, socket_path, [version]) as control:
        owners = {}
        for client, key in enumerate(public_keys):
            request = RegisterNodeRequest(public_key=public_key_to_bytes(key))
            owners[control.RegisterNode(request).node_id] = client
        content = build_fab_from_disk(APP_DIR)
        app = Fab(hashlib.sha256(content).hexdigest(), content, {})
        control.StartRun(StartRunRequest(fab=fab_to_proto(app)))
    token = _acquire_server_task(socket_path)
    with connect_runtime(socket_path, token) as runtime, heartbeat(runtime):
        task = runtime.PullTaskInput(PullTaskInputRequest())
        set_task_identity(task.task_id, task.run.run_id, task.context.node_id)
        node_ids = {client: node for node, client in owners.items()}
        grid = ReconnectingGrid(socket_path, token, poll_failures, node_ids)
        grid.set_run(run_from_proto(task.run))
        try:
            yield grid, owners or None
        finally:
            grid.close()


def _acquire_server_task(socket_path: Path) -> str:
    end = time.monotonic() + START_TIMEOUT_SECONDS
    with connect_runtime(socket_path) as runtime:
        while time.monotonic() < end:
            if token := acquire_task(runtime, TaskType.SERVER_APP):
                return token
            time.sleep(0.1)
    raise UserError("the SuperLink did not start the run", "see its log beside this one")
