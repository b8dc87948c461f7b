"""A grid that calls another one."""

from collections.abc import Iterable
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid


class DelegatingGrid(Grid):
    """Grid that passes all calls on; classes derived from it change some.

    Args:
        grid: The grid to call.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def get_nodes(self) -> Iterable[Any]:
        """Return the connected nodes, as the grid describes them."""
        return self._grid.get_nodes()

    def get_node_ids(self) -> Iterable[int]:
        """Return the ids of the connected nodes."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; return their ids."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that have arrived."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages, and wait for their replies.

        Args:
            messages: The messages.
            timeout: Seconds to wait.

        Returns:
            The replies that arrived in time.
        """
        return self._grid.send_and_receive(messages, timeout=timeout)

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message, as the grid does.

        Args:
            content: Its content.
            message_type: Its type.
            dst_node_id: Node that it is for.
            group_id: Its group.
            ttl: Seconds that it is valid for.

        Returns:
            The message.
        """
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def set_run(self, run: Any) -> None:
        """Set the run."""
        self._grid.set_run(run)

    @property
    def run(self) -> Any:
        """The run."""
        return self._grid.run
