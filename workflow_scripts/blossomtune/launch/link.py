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

from blossomtune.errors import UserError
from blossomtune.launch.sockets import RETURNED, connected
from blossomtune.launch.tasks import acquire, alive, runtime

APP = Path(__file__).resolve().parents[2]
"""The folder of the Flower app: the one with its pyproject.toml."""

START_SECONDS = 60

Watch = Callable[[], Mapping[int, str]]


class WatchedGrid(HttpGrid):
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

    def __init__(self, socket: Path, token: str, watch: Watch, nodes: Mapping[int, int]) -> None:
        super().__init__(token=token)
        self._socket, self._watch, self._nodes = socket, watch, nodes
        self._asked: dict[str, Message] = {}
        self._sent: dict[str, str] = {}  # what was asked, by what was sent last to ask it
        self._gone: dict[int, str] = {}
        self._returned = socket.with_name(RETURNED)
        self._seen = 0  # lines of that file

    def _connect(self) -> None:
        self._client = runtime(self._socket, self._token)

    def get_node_ids(self) -> list[int]:
        """Nodes that are there, and those that will not come any more."""
        self._look()
        return list({*super().get_node_ids(), *self._gone})

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Sends messages, and forgets those before them that have no reply; their ids."""
        self._asked, self._sent, ids = {}, {}, []
        for message in messages:
            message.metadata.__dict__["_message_id"] = asked = message.object_id
            self._asked[asked] = message
            self._send(asked, message)
            ids.append(asked)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Replies to these messages, or to what was sent in their place."""
        self._look()
        wanted = set(message_ids)
        sent = {last: asked for last, asked in self._sent.items() if asked in wanted}
        replies = list(super().pull_messages(set(sent))) if sent else []
        for reply in replies:
            asked = sent[reply.metadata.reply_to_message_id]
            reply.metadata.__dict__["_reply_to_message_id"] = asked
            wanted.discard(asked)
        for asked in wanted:
            message = self._asked[asked]
            if why := self._gone.get(message.metadata.dst_node_id):
                replies.append(Message(Error(ErrorCode.NODE_UNAVAILABLE, why), reply_to=message))
        for reply in replies:
            self._asked.pop(reply.metadata.reply_to_message_id, None)
        return replies

    def _send(self, asked: str, message: Message) -> None:
        if message.metadata.dst_node_id in self._gone:
            return
        self._sent = {last: what for last, what in self._sent.items() if what != asked}
        for last in super().push_messages([message]):
            self._sent[last] = asked

    def _look(self) -> None:
        gone = self._watch().items()
        self._gone |= {self._nodes[client]: why for client, why in gone if client in self._nodes}
        lines = self._returned.read_text().splitlines() if self._returned.exists() else []
        back = {int(node) for node in lines[self._seen :]}
        self._seen = len(lines)
        for asked, message in list(self._asked.items()):
            if (node := message.metadata.dst_node_id) in back:
                self._send(asked, Message(message.content, node, message.metadata.message_type))


@contextmanager
def lead(
    socket: Path, nodes: Sequence[Path], watch: Watch
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
    with connected(ControlHttpClient, socket, [version]) as control:
        owners = {}
        for client, path in enumerate(nodes):
            key = public_key_to_bytes(load_ssh_public_key(path.read_bytes()))
            owners[control.RegisterNode(RegisterNodeRequest(public_key=key)).node_id] = client
        content = build_fab_from_disk(APP)
        app = Fab(hashlib.sha256(content).hexdigest(), content, {})
        control.StartRun(StartRunRequest(fab=fab_to_proto(app)))
    token = _take(socket)
    with runtime(socket, token) as client, alive(client):
        given = client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
        TaskIdentity.node_id = given.context.node_id
        grid = WatchedGrid(socket, token, watch, {c: node for node, c in owners.items()})
        grid.set_run(run_from_proto(given.run))
        try:
            yield grid, owners or None
        finally:
            grid.close()


def _take(socket: Path) -> str:
    end = time.monotonic() + START_SECONDS
    with runtime(socket) as client:
        while time.monotonic() < end:
            if token := acquire(client, TaskType.SERVER_APP):
                return token
            time.sleep(0.1)
    raise UserError("the SuperLink did not start the run", "see its log beside this one")
