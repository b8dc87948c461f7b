"""The ServerApp's side of a SuperLink: SuperNodes are made known, and a run is started and led."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.app.message import Message
from flwr.cli.build import build_fab_from_disk
from flwr.common.serde import fab_to_proto, run_from_proto
from flwr.proto.control_pb2 import RegisterNodeRequest, StartRunRequest
from flwr.proto.runtime_pb2 import PullTaskInputRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

from blossomtune.errors import UserError
from blossomtune.launch.tasks import Desk, acquire, alive

APP = Path(__file__).resolve().parents[2]
"""The folder of the Flower app: the one with its pyproject.toml."""

START_SECONDS = 60


class WatchedGrid(HttpGrid):
    """Flower's grid, which looks whether the engine still runs whenever it looks for replies."""

    def __init__(self, *args: Any, watch: Callable[[], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watch = watch
        self._retry_invoker.max_time = START_SECONDS

    def get_nodes(self) -> Any:
        """Nodes, if the engine runs."""
        self._watch()
        return super().get_nodes()

    def pull_messages(self, message_ids: Any) -> Sequence[Message]:
        """Replies, if the engine runs."""
        self._watch()
        return super().pull_messages(message_ids)


@contextmanager
def lead(
    desk: Desk, nodes: Sequence[Path], watch: Callable[[], None]
) -> Iterator[tuple[HttpGrid, dict[int, int] | None]]:
    """Starts a run on a SuperLink; yields the grid of its nodes, and by node the client it is of.

    Args:
        desk: the SuperLink.
        nodes: public keys of the clients' SuperNodes, in OpenSSH's format; none where they do not
            authenticate themselves, and then nobody knows whose a node is.
        watch: raises what is wrong with the engine, if something is.

    Raises:
        UserError: where the SuperLink does not hand out the run.
    """
    version = RuntimeVersionHttpInterceptor(component_name="flwr-cli")
    with ControlHttpClient.from_server_address(
        desk.address, desk.authority is None, desk.authority, interceptors=[version]
    ) as control:
        owners = {}
        for client, path in enumerate(nodes):
            key = public_key_to_bytes(load_ssh_public_key(path.read_bytes()))
            owners[control.RegisterNode(RegisterNodeRequest(public_key=key)).node_id] = client
        content = build_fab_from_disk(APP)
        app = Fab(hashlib.sha256(content).hexdigest(), content, {})
        control.StartRun(StartRunRequest(fab=fab_to_proto(app)))
    token = _take(desk)
    insecure = desk.authority is None
    with desk.client(token) as client, alive(client):
        grid = WatchedGrid(desk.address, insecure, desk.authority, token=token, watch=watch)
        given = client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
        TaskIdentity.node_id = given.context.node_id
        grid.set_run(run_from_proto(given.run))
        try:
            yield grid, owners or None
        finally:
            grid.close()


def _take(desk: Desk) -> str:
    end = time.monotonic() + START_SECONDS
    with desk.client() as client:
        while time.monotonic() < end:
            if token := acquire(client, TaskType.SERVER_APP):
                return token
            time.sleep(0.1)
    raise UserError("the SuperLink did not start the run", "see its log beside this one")
