"""Free replies that stay behind in SuperNodes of Flower's own program."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from blossomtune.federation.messages.nudge import NUDGE
from blossomtune.federation.server.delegating_grid import DelegatingGrid

logger = logging.getLogger(__name__)

NUDGE_SECONDS = 60.0
"""Time without a reply after which a node is nudged; each further time takes twice as long."""


@dataclass
class _Request:
    """A message that a node has not answered."""

    node: int
    is_query: bool
    pause: float
    next_nudge: float


class NudgingGrid(DelegatingGrid):
    """Grid that sends another message to a node whose reply may have stayed behind.

    Flower's SuperNode (1.41) sends the replies that it has once per message that it receives. When
    a run is stopped while a SuperNode receives a message, its ClientApp answers that one, too. From
    then on the SuperNode has one reply more, so that each reply waits for the next message.

    A node is nudged if it has not answered the query at the start for a minute. In rounds, only
    such nodes are nudged. ClientApps answer nudges at once.

    Args:
        grid: The grid of Flower's ServerApp.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid)
        self._requests: dict[str, _Request] = {}  # by message id
        self._nudges: dict[str, int] = {}  # node by message id
        self._nudged: set[int] = set()

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages; return their ids."""
        sent = list(messages)
        message_ids = list(self._grid.push_messages(sent))
        now = time.monotonic()
        for message_id, message in zip(message_ids, sent, strict=False):
            is_query = message.metadata.message_type == MessageType.QUERY
            self._requests[message_id] = _Request(
                message.metadata.dst_node_id, is_query, NUDGE_SECONDS, now + NUDGE_SECONDS
            )
        return message_ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies that have arrived; nudge nodes that have sent none for long."""
        waiting = set(message_ids)
        replies = []
        for reply in self._grid.pull_messages(waiting | self._nudges.keys()):
            message_id = reply.metadata.reply_to_message_id
            if self._nudges.pop(message_id, None) is None:
                self._requests.pop(message_id, None)
                waiting.discard(message_id)
                replies.append(reply)
        self._nudge(waiting)
        return replies

    def _nudge(self, waiting: Iterable[str]) -> None:
        """Nudge the nodes of messages that are overdue, unless they have not answered a nudge."""
        now = time.monotonic()
        for message_id in waiting:
            request = self._requests.get(message_id)
            if request is None or now < request.next_nudge or request.node in self._nudges.values():
                continue
            if not request.is_query and request.node not in self._nudged:
                continue
            logger.info("node %d has sent no reply; it is asked to go on", request.node)
            nudge = Message(RecordDict(), request.node, NUDGE)
            # a message that was not taken has no id
            sent = filter(None, self._grid.push_messages([nudge]))
            self._nudges |= dict.fromkeys(sent, request.node)
            self._nudged.add(request.node)
            request.pause *= 2
            request.next_nudge = now + request.pause
