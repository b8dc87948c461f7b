"""The ServerApp's side of a SuperLink: SuperNodes are made known, and a run is started and led."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.app import Error, Message
from flwr.cli.build import build_fab_from_disk
from flwr.common.constant import ErrorCode
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

from blossomtune.deployment.flower_tasks import acquire_task, connect_runtime, heartbeat
from blossomtune.deployment.unix_sockets import RECONNECTS_FILE, connect_client
from blossomtune.errors import UserError

APP_DIR = Path(__file__).resolve().parents[2]
"""The folder of the Flower app: the one with its pyproject.toml."""

START_TIMEOUT_SECONDS = 60

PollFailures = Callable[[], Mapping[int, str]]


class ReconnectingGrid(HttpGrid):
    """Flower's grid, which knows what became of its nodes' processes.

    What a SuperNode had before it came back is sent to it once more: training has no other outcome
    the second time. Nodes that are gone for good answer everything with the reason.

    Args:
        socket: of the SuperLink.
        token: of the ServerApp's task.
        watch: by client, why its SuperNode is gone for good, where that has happened since the
            last time. Raises where the engine itself has failed.
        nodes: node ids by client; none where they are not known.
    """

    def __init__(
        self,
        socket_path: Path,
        token: str,
        poll_failures: PollFailures,
        node_ids: Mapping[int, int],
    ) -> None:
        super().__init__(token=token)
        self._socket_path, self._poll_failures, self._node_ids = (
            socket_path,
            poll_failures,
            node_ids,
        )
        self._pending: dict[str, Message] = {}
        self._original_ids: dict[str, str] = {}  # what was asked, by what was sent last to ask it
        self._failed_nodes: dict[int, str] = {}
        self._reconnects_file = socket_path.with_name(RECONNECTS_FILE)
        self._num_reconnects_read = 0  # lines of that file

    def _connect(self) -> None:
        self._client = connect_runtime(self._socket_path, self._token)

    def get_node_ids(self) -> list[int]:
        """Nodes that are there, and those that will not come any more."""
        self._handle_node_changes()
        return list({*super().get_node_ids(), *self._failed_nodes})

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Sends messages, and forgets those before them that have no reply; their ids."""
        self._pending, self._original_ids, ids = {}, {}, []
        for message in messages:
            message.metadata.__dict__["_message_id"] = asked = message.object_id
            self._pending[asked] = message
            self._send_message(asked, message)
            ids.append(asked)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Replies to these messages, or to what was sent in their place."""
        self._handle_node_changes()
        wanted = set(message_ids)
        sent = {last: asked for last, asked in self._original_ids.items() if asked in wanted}
        replies = list(super().pull_messages(set(sent))) if sent else []
        for reply in replies:
            asked = sent[reply.metadata.reply_to_message_id]
            reply.metadata.__dict__["_reply_to_message_id"] = asked
            wanted.discard(asked)
        for asked in wanted:
            message = self._pending[asked]
            if why := self._failed_nodes.get(message.metadata.dst_node_id):
                replies.append(Message(Error(ErrorCode.NODE_UNAVAILABLE, why), reply_to=message))
        for reply in replies:
            self._pending.pop(reply.metadata.reply_to_message_id, None)
        return replies

    def _send_message(self, original_id: str, message: Message) -> None:
        if message.metadata.dst_node_id in self._failed_nodes:
            return
        self._original_ids = {
            last: what for last, what in self._original_ids.items() if what != original_id
        }
        for last in super().push_messages([message]):
            self._original_ids[last] = original_id

    def _handle_node_changes(self) -> None:
        gone = self._poll_failures().items()
        self._failed_nodes |= {
            self._node_ids[client]: why for client, why in gone if client in self._node_ids
        }
        lines = (
            self._reconnects_file.read_text().splitlines() if self._reconnects_file.exists() else []
        )
        back = {int(node) for node in lines[self._num_reconnects_read :]}
        self._num_reconnects_read = len(lines)
        for asked, message in list(self._pending.items()):
            if (node := message.metadata.dst_node_id) in back:
                self._send_message(
                    asked, Message(message.content, node, message.metadata.message_type)
                )


@contextmanager
def run_session(
    socket_path: Path, public_keys: Sequence[Path], poll_failures: PollFailures
) -> Iterator[tuple[HttpGrid, dict[int, int] | None]]:
    """Starts a run on a SuperLink; yields the grid of its nodes, and by node the client it is of.

    Args:
        socket: of the SuperLink.
        nodes: public keys of the clients' SuperNodes, in OpenSSH's format; none where they do not
            authenticate themselves, and then nobody knows whose a node is.
        watch: see ``WatchedGrid``.

    Raises:
        UserError: where the SuperLink does not hand out the run.
    """
    version = RuntimeVersionHttpInterceptor(component_name="flwr-cli")
    with connect_client(ControlHttpClient, socket_path, [version]) as control:
        owners = {}
        for client, path in enumerate(public_keys):
            key = public_key_to_bytes(load_ssh_public_key(path.read_bytes()))
            owners[control.RegisterNode(RegisterNodeRequest(public_key=key)).node_id] = client
        content = build_fab_from_disk(APP_DIR)
        app = Fab(hashlib.sha256(content).hexdigest(), content, {})
        control.StartRun(StartRunRequest(fab=fab_to_proto(app)))
    token = _acquire_server_task(socket_path)
    with connect_runtime(socket_path, token) as client, heartbeat(client):
        given = client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
        TaskIdentity.node_id = given.context.node_id
        grid = ReconnectingGrid(
            socket_path, token, poll_failures, {c: node for node, c in owners.items()}
        )
        grid.set_run(run_from_proto(given.run))
        try:
            yield grid, owners or None
        finally:
            grid.close()


def _acquire_server_task(socket_path: Path) -> str:
    end = time.monotonic() + START_TIMEOUT_SECONDS
    with connect_runtime(socket_path) as client:
        while time.monotonic() < end:
            if token := acquire_task(client, TaskType.SERVER_APP):
                return token
            time.sleep(0.1)
    raise UserError("the SuperLink did not start the run", "see its log beside this one")
