"""Send messages to SuperNodes that may be restarted or fail."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import httpx
from flwr.app import Error, Message, MessageType

from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment.flower_tasks import connect_runtime
from blossomtune.deployment.reply_reader import (
    build_unreadable_reply,
    compute_max_bytes,
    limit_bytes,
    read_reply,
)

RECONNECTS_FILE = "reconnects"
"""File beside a SuperLink's socket with one node id per line, for each reconnect."""

PollFailures = Callable[[], Mapping[int, str]]
"""Return the reason of each permanent failure since the last call, by client."""


PollKeys = Callable[[], Mapping[int, int | None]]
"""Return the new node id of each client whose key has changed; None if it was revoked."""


class ReconnectingGrid(flower.HttpGrid):
    """Grid on a Unix socket that follows the state of the nodes' processes.

    A SuperNode that reconnects gets its unanswered messages again; training is deterministic, so
    its replies are the same. Messages to failed nodes get an error with the reason as their reply.
    A client whose key is replaced keeps its node id here, and its messages go to the new node.

    Args:
        socket_path: Socket of the SuperLink.
        token: Token of the ServerApp's task.
        poll_failures: Returns new failures by client; raises if the backend has failed.
        node_ids: Node ids by client; empty if they are unknown.
        poll_keys: Returns the nodes of keys that have changed.

    Attributes:
        replies_per_pull: Most replies to ask for at once. Only one of them is in memory.
    """

    replies_per_pull = 64

    def __init__(
        self,
        socket_path: Path,
        token: str,
        poll_failures: PollFailures,
        node_ids: Mapping[int, int],
        poll_keys: PollKeys = dict,
    ) -> None:
        super().__init__(token=token)
        self._socket_path = socket_path
        self._poll_failures = poll_failures
        self._poll_keys = poll_keys
        self._node_ids = node_ids
        self._new_nodes: dict[int, int] = {}  # of replaced keys, by the client's node id
        self._unsent: set[str] = set()  # original ids of messages to nodes that never connected
        self._pending: dict[str, Message] = {}  # by original id
        self._sent_ids: dict[str, str] = {}  # the id that was sent last, by original id
        self._failed_nodes: dict[int, str] = {}
        self._reconnects_file = socket_path.with_name(RECONNECTS_FILE)
        self._reconnects_offset = 0

    def _connect(self) -> None:
        self._client = connect_runtime(self._socket_path, self._token)

    def get_node_ids(self) -> list[int]:
        """Return the ids of connected and of failed nodes."""
        self._update_nodes()
        nodes = {new: node for node, new in self._new_nodes.items()}
        online = {nodes.get(node, node) for node in super().get_node_ids()}
        return list(online | self._failed_nodes.keys())

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages and return their ids.

        Earlier messages without a reply are forgotten, except for queries: a node may take longer
        than a round to load its model.
        """
        sent = list(messages)
        if any(message.metadata.message_type != MessageType.QUERY for message in sent):
            self._forget_requests()
        for message in sent:
            message_id = message.object_id
            flower.set_message_id(message, message_id)
            self._pending[message_id] = message
            self._send(message_id, message)
        return [message.metadata.message_id for message in sent]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
        """Yield replies to these messages or to messages that were sent again for them."""
        self._update_nodes()
        unanswered = set(message_ids)
        sent_ids = {self._sent_ids[i]: i for i in unanswered if i in self._sent_ids}
        for original_id, reply in self._pull_replies(sent_ids):
            unanswered.remove(original_id)
            del self._pending[original_id]
            yield reply
        for original_id in unanswered:
            message = self._pending[original_id]
            if reason := self._failed_nodes.get(message.metadata.dst_node_id):
                del self._pending[original_id]
                error = Error(flower.ErrorCode.NODE_UNAVAILABLE, reason)
                yield Message(error, reply_to=message)

    def _pull_replies(self, sent_ids: dict[str, str]) -> Iterator[tuple[str, Message]]:
        """Pull the replies that have arrived, one after another.

        Args:
            sent_ids: Original ids by the ids that were sent; those with a reply are removed.

        Yields:
            The original id, and the reply to its message; with an error if the client's own reply
            cannot be read.
        """
        if not sent_ids:
            return
        request = flower.PullAppMessagesRequest(message_ids=list(sent_ids))
        response = self._runtime_client.PullMessages(request)
        descriptions = zip(response.messages_list, response.message_object_trees, strict=True)
        for description, tree in descriptions:
            if original_id := sent_ids.pop(description.metadata.reply_to_message_id, None):
                message_id = description.metadata.message_id
                yield original_id, self._pull_reply(message_id, tree, self._pending[original_id])

    def _pull_reply(self, message_id: str, tree: flower.ObjectTree, message: Message) -> Message:
        """Return the reply to a message; any error that its bytes cause is this client's failure.

        Args:
            message_id: Id of the reply.
            tree: Its objects.
            message: The original message.

        Returns:
            The reply, or one with an error.
        """
        run_id, client = self.run.run_id, self._runtime_client
        pull = flower.make_pull_object_fn_protobuf(client.PullObject, self.node, run_id)
        pull = limit_bytes(pull, compute_max_bytes(message.content))
        try:
            object_ids = {node.object_id for node in flower.iterate_object_tree(tree)}
            contents = flower.pull_objects(list(object_ids), pull)
            client.ConfirmMessageReceived(
                flower.ConfirmMessageReceivedRequest(
                    node=self.node, run_id=run_id, message_object_id=message_id
                )
            )
            return read_reply(contents, message_id, message)
        except httpx.TransportError:  # the SuperLink has ended
            raise
        except Exception as error:
            return build_unreadable_reply(error, message)

    def _send(self, original_id: str, message: Message) -> None:
        node = message.metadata.dst_node_id
        self._sent_ids.pop(original_id, None)
        self._unsent.discard(original_id)
        if node in self._failed_nodes:
            return
        if new_node := self._new_nodes.get(node):
            if new_node not in super().get_node_ids():  # Flower refuses messages to it
                self._unsent.add(original_id)
                return
            message = Message(message.content, new_node, message.metadata.message_type)
        for sent_id in super().push_messages([message]):
            self._sent_ids[original_id] = sent_id

    def _forget_requests(self) -> None:
        """Forget all messages but queries."""
        self._pending = {
            message_id: message
            for message_id, message in self._pending.items()
            if message.metadata.message_type == MessageType.QUERY
        }
        self._sent_ids = {i: sent for i, sent in self._sent_ids.items() if i in self._pending}
        self._unsent &= self._pending.keys()

    def _update_nodes(self) -> None:
        """Note failed nodes and changed keys, and send unanswered messages again where needed."""
        for client, reason in self._poll_failures().items():
            if client in self._node_ids:
                self._failed_nodes.setdefault(self._node_ids[client], reason)
        nodes_to_ask = self._read_reconnects()
        for client, new_node in self._poll_keys().items():
            node = self._node_ids[client]
            if new_node is None:
                self._failed_nodes[node] = "its key was revoked"
            else:
                self._failed_nodes.pop(node, None)
                self._new_nodes[node] = new_node
                nodes_to_ask.add(node)
        if not (nodes_to_ask or self._unsent):
            return
        for original_id, message in list(self._pending.items()):
            node = message.metadata.dst_node_id
            is_asked = {node, self._new_nodes.get(node)} & nodes_to_ask
            if is_asked or original_id in self._unsent:
                copy = Message(message.content, node, message.metadata.message_type)
                self._send(original_id, copy)

    def _read_reconnects(self) -> set[int]:
        """Return the nodes that have reconnected since the last call."""
        if not self._reconnects_file.exists():
            return set()
        with self._reconnects_file.open("rb") as file:  # a node may reconnect without end
            file.seek(self._reconnects_offset)
            lines = file.read().splitlines()
            self._reconnects_offset = file.tell()
        return {int(node) for node in lines}
