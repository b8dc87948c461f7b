"""Send messages to SuperNodes that may be restarted or fail."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from flwr.app import Error, Message

from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment.flower_tasks import connect_runtime

RECONNECTS_FILE = "reconnects"
"""File beside a SuperLink's socket with one node id per line, for each reconnect."""

PollFailures = Callable[[], Mapping[int, str]]
"""Return the reason of each permanent failure since the last call, by client."""


class ReconnectingGrid(flower.HttpGrid):
    """Grid on a Unix socket that follows the state of the nodes' processes.

    A SuperNode that reconnects gets its unanswered messages again; training is deterministic, so
    its replies are the same. Messages to failed nodes get an error with the reason as their reply.

    Args:
        socket_path: Socket of the SuperLink.
        token: Token of the ServerApp's task.
        poll_failures: Returns new failures by client; raises if the backend has failed.
        node_ids: Node ids by client; empty if they are unknown.
    """

    def __init__(
        self,
        socket_path: Path,
        token: str,
        poll_failures: PollFailures,
        node_ids: Mapping[int, int],
    ) -> None:
        super().__init__(token=token)
        self._socket_path = socket_path
        self._poll_failures = poll_failures
        self._node_ids = node_ids
        self._pending: dict[str, Message] = {}  # by original id
        self._original_ids: dict[str, str] = {}  # by the id that was sent last
        self._failed_nodes: dict[int, str] = {}
        self._reconnects_file = socket_path.with_name(RECONNECTS_FILE)
        self._num_reconnects = 0

    def _connect(self) -> None:
        self._client = connect_runtime(self._socket_path, self._token)

    def get_node_ids(self) -> list[int]:
        """Return the ids of connected and of failed nodes."""
        self._update_nodes()
        return list({*super().get_node_ids(), *self._failed_nodes})

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages, return their ids and forget earlier messages without a reply."""
        self._pending, self._original_ids = {}, {}
        for message in messages:
            message_id = message.object_id
            flower.set_message_id(message, message_id)
            self._pending[message_id] = message
            self._send(message_id, message)
        return list(self._pending)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return replies to these messages or to messages that were sent again for them."""
        self._update_nodes()
        unanswered = set(message_ids)
        sent_ids = {
            s: original for s, original in self._original_ids.items() if original in unanswered
        }
        replies = list(super().pull_messages(list(sent_ids))) if sent_ids else []
        for reply in replies:
            original_id = sent_ids[reply.metadata.reply_to_message_id]
            flower.set_reply_to_message_id(reply, original_id)
            unanswered.discard(original_id)
        for original_id in unanswered:
            message = self._pending[original_id]
            if reason := self._failed_nodes.get(message.metadata.dst_node_id):
                error = Error(flower.ErrorCode.NODE_UNAVAILABLE, reason)
                replies.append(Message(error, reply_to=message))
        for reply in replies:
            self._pending.pop(reply.metadata.reply_to_message_id, None)
        return replies

    def _send(self, original_id: str, message: Message) -> None:
        if message.metadata.dst_node_id in self._failed_nodes:
            return
        self._original_ids = {
            sent: original
            for sent, original in self._original_ids.items()
            if original != original_id
        }
        for sent_id in super().push_messages([message]):
            self._original_ids[sent_id] = original_id

    def _update_nodes(self) -> None:
        """Note failed nodes, and send unanswered messages again to nodes that reconnected."""
        for client, reason in self._poll_failures().items():
            if client in self._node_ids:
                self._failed_nodes[self._node_ids[client]] = reason
        if not self._reconnects_file.exists():
            return
        lines = self._reconnects_file.read_text().splitlines()
        reconnected = {int(node) for node in lines[self._num_reconnects :]}
        self._num_reconnects = len(lines)
        for original_id, message in list(self._pending.items()):
            if (node := message.metadata.dst_node_id) in reconnected:
                copy = Message(message.content, node, message.metadata.message_type)
                self._send(original_id, copy)
