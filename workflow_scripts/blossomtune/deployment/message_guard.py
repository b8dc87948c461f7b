"""Bound what the SuperNodes' messages can do to a SuperLink.

Flower trusts a SuperNode with a valid key: with the sender that its messages name, with the size of
what it announces, and with finishing an upload that it began.
"""

import re
from collections import Counter
from contextvars import ContextVar

from flwr.app import Message

from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment.request_delivery import RequestDelivery

MAX_OBJECTS = 10_000
"""Most objects of a reply; an adapter has one per 5 MiB, and a few more."""

REPLY_SLACK_BYTES = 2**20
"""Bytes by which a reply may exceed the largest request: metrics, and replies to queries."""

ANONYMOUS = 0
"""Node id of a request without authentication; Flower gives it to no node."""

calling_node: ContextVar[int | None] = ContextVar("calling_node", default=None)
"""Node whose request is being served; None for this machine's own requests."""


class MessageGuard:
    """Checks between Flower's handlers and the state of a SuperLink.

    - A SuperNode sends replies only, in its own name, and hardly larger than requests are.
    - A reply is delivered when it is complete, so that nobody waits for an upload.
    - A new request to a node replaces the one before, with what was uploaded for it.
    - A node that loses its network may still reply when it is back. Only a request to a node that
      is offline already gets an error at once.

    Args:
        state: State of the SuperLink; methods of it are replaced.
        requests: Requests to its nodes, which are added when they are complete.
    """

    def __init__(self, state: flower.InMemoryLinkState, requests: RequestDelivery) -> None:
        self._state, self._requests = state, requests
        self._store_message = state.store_message_and_object_tree
        self._store_object = state.store_object
        self._get_replies = state.get_message_res
        self._uploaded: Counter[str] = Counter()  # bytes, by id of an incomplete message
        self._max_request_bytes = 0
        self._offline_requests: dict[int, str] = {}  # last request to a node, if it was offline
        flower.report_offline_nodes(self._offline_requests.values())
        state.store_message_and_object_tree = self.store_message  # type: ignore[method-assign]
        state.store_object = self.store_object  # type: ignore[method-assign]
        state.get_message_res = self.get_complete_replies  # type: ignore[method-assign]

    def store_message(
        self, message: Message, object_tree: flower.ObjectTree, session_id: str
    ) -> tuple[bool, list[str]]:
        """Store a message, unless a SuperNode may not send it.

        Args:
            message: A request of the server or a reply.
            object_tree: Ids of the objects that it consists of.
            session_id: Session of the upload, which ends here if the message is not stored.

        Returns:
            Whether it is stored, and the ids of the objects to upload.
        """
        node, state = calling_node.get(), self._state
        with state._lock_object_push_sessions, state.lock:  # in this order, as Flower's cleanup
            if node is None:
                self._drop_messages_to(message.metadata.dst_node_id)
                self._note_if_offline(message)
            is_allowed = node is None or self._may_send(node, message, object_tree)
            result: tuple[bool, list[str]] = False, []
            if is_allowed:
                result = self._store_message(message, object_tree, session_id)
            if node is None and result == (True, []):
                self._requests.add(message)
            if node is not None and result[0]:
                self._keep_online(message.metadata.src_node_id)
            if not result[0]:
                state._cleanup_push_session(session_id, cleanup_messages=False)
            return result

    def store_object(
        self, run_id: int, session_id: str, object_id: str, object_content: bytes
    ) -> bool:
        """Store an object of a message, unless a reply becomes larger than requests are.

        Args:
            run_id: Id of the run.
            session_id: Session of the upload.
            object_id: Id of the object.
            object_content: Its bytes.

        Returns:
            Whether it is stored.
        """
        sessions = self._state._object_push_sessions
        with self._state._lock_object_push_sessions:
            if session_id not in sessions:
                return False
            [message_id] = sessions[session_id].root_object_ids
            num_bytes = self._uploaded[message_id] + len(object_content)
            if calling_node.get() is None:
                self._max_request_bytes = max(self._max_request_bytes, num_bytes)
            elif num_bytes > self._max_request_bytes + REPLY_SLACK_BYTES:
                return False
            is_stored = self._store_object(run_id, session_id, object_id, object_content)
            self._uploaded[message_id] = num_bytes
            if session_id not in sessions:
                del self._uploaded[message_id]
                if request := self._state.message_ins_store.get(message_id):
                    self._requests.add(request)
            return is_stored

    def get_complete_replies(self, message_ids: set[str], run_id: int) -> list[Message]:
        """Return replies whose objects are all here, and errors of nodes that were offline.

        Args:
            message_ids: Ids of requests.
            run_id: Id of the run.

        Returns:
            Replies to some of the requests.
        """
        with self._state._lock_object_push_sessions, self._state.lock:
            uploading = {i for i in message_ids if self._is_uploading(i)}
        return self._get_replies(message_ids - uploading, run_id)

    def _is_uploading(self, request_id: str) -> bool:
        """Return whether a reply is incomplete."""
        state = self._state
        reply_id = state.message_ins_id_to_message_res_id.get(request_id, "")
        session_id = state._object_push_session_by_root.get(reply_id, "")
        session = state._object_push_sessions.get(session_id)
        return session is not None and bool(session.pending_object_ids)

    def _note_if_offline(self, request: Message) -> None:
        node = request.metadata.dst_node_id
        if self._state.get_node_info(node_ids=[node], statuses=[flower.NodeStatus.ONLINE]):
            self._offline_requests.pop(node, None)
        else:
            self._offline_requests[node] = request.metadata.message_id

    def _keep_online(self, node: int) -> None:
        """Count a reply as a heartbeat, else a node whose network is back is still offline."""
        [info] = self._state.get_node_info(node_ids=[node])
        self._state.acknowledge_node_heartbeat(node, info.heartbeat_interval)

    def _may_send(self, node: int, message: Message, tree: flower.ObjectTree) -> bool:
        """Return whether a message is a sound reply in the name of its sender."""
        metadata = message.metadata
        return (
            metadata.reply_to_message_id != ""
            and node in (ANONYMOUS, metadata.src_node_id)
            and tree.object_id == metadata.message_id
            and self._is_sound(tree)
        )

    def _is_sound(self, tree: flower.ObjectTree) -> bool:
        """Return whether a tree is small, and describes each object as the store knows it.

        Flower follows an object's stored children. Without the second condition a few objects
        that repeat one another make a tree of any size.
        """
        store = self._state.object_store.store  # type: ignore[attr-defined] # the one in memory
        children: dict[str, list[str]] = {}
        remaining, num_objects = [tree], 0
        while remaining:
            node = remaining.pop()
            num_objects += 1
            if num_objects > MAX_OBJECTS or not re.fullmatch("[0-9a-f]{64}", node.object_id):
                return False
            ids = [child.object_id for child in node.children]
            entry = store.get(node.object_id)
            known = children.setdefault(node.object_id, entry.child_object_ids if entry else ids)
            if known != ids:
                return False
            remaining.extend(node.children)
        return True

    def _drop_messages_to(self, node: int) -> None:
        """Delete earlier requests to a node, its replies and their objects."""
        state = self._state
        for request_id, request in list(state.message_ins_store.items()):
            if request.metadata.dst_node_id != node:
                continue
            reply_id = state.message_ins_id_to_message_res_id.get(request_id)
            state.delete_messages({request_id})
            for message_id in filter(None, (request_id, reply_id)):
                if session_id := state._object_push_session_by_root.get(message_id):
                    state._cleanup_push_session(session_id, cleanup_messages=False)
                self._uploaded.pop(message_id, None)
                state.object_store.delete(message_id)
