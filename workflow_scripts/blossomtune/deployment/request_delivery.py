"""Deliver each request to its SuperNode as soon as it is complete, and until it is received.

Flower answers a SuperNode's question for messages at once, after a search through all messages. The
SuperNode then sleeps for three seconds, whatever arrives meanwhile. Here such questions are held
until there is a request (long polling). Flower also hands out requests that are still being
uploaded, and none twice, though an answer can be lost.
"""

import asyncio
from collections.abc import Awaitable, Callable

from flwr.app import Message

from blossomtune.deployment import flower_internal as flower

HOLD_SECONDS = 20
"""Longest time that a question is held; a SuperNode waits 30 s for its answer."""


class RequestDelivery:
    """Complete requests to the nodes of a SuperLink, at most one per node.

    Args:
        state: State of the SuperLink; its ``get_message_ins`` is replaced.
    """

    def __init__(self, state: flower.InMemoryLinkState) -> None:
        self._state = state
        self._request_ids: dict[int, str] = {}  # of the newest complete request, by node
        self._held: dict[int, set[asyncio.Future[None]]] = {}  # questions, by node
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        state.get_message_ins = self.get_requests  # type: ignore[method-assign]

    def add(self, request: Message) -> None:
        """Deliver a request from now on, in place of an earlier one to its node.

        Args:
            request: A request whose objects are all stored.
        """
        node = request.metadata.dst_node_id
        self._request_ids[node] = request.metadata.message_id
        if self._loop:  # requests are stored by threads
            self._loop.call_soon_threadsafe(self._answer, node)

    def get_requests(
        self, node_id: int, limit: int | None, *, run_id: int | None = None
    ) -> list[Message]:
        """Return the request to a node, unless the node has confirmed that it has received it.

        Args:
            node_id: Id of the node.
            limit: Largest number of requests.
            run_id: Run of the request; None for any.

        Returns:
            One request or none.
        """
        with self._state.lock:
            request_id = self._request_ids.get(node_id, "")
            self._state._check_stored_messages({request_id})
            request = self._state.message_ins_store.get(request_id)
            if request is None or not self._is_waiting(node_id):
                return []
            if run_id not in (None, request.metadata.run_id):
                return []
            flower.mark_delivered(request)
            return [request]

    async def hold(self, node: int, receive: Callable[[], Awaitable[object]]) -> None:
        """Return when there is a request to a node, after ``HOLD_SECONDS`` at the latest.

        Args:
            node: Id of the node.
            receive: ASGI receive function of the node's question, for the end of the connection.
        """
        self._loop = asyncio.get_running_loop()
        answer = self._loop.create_future()
        held = self._held.setdefault(node, set())
        held.add(answer)  # before the look at requests, else one that comes between is missed
        end = asyncio.ensure_future(receive())
        try:
            if not (self._is_closed or self._is_waiting(node)):
                await asyncio.wait(
                    {answer, end}, timeout=HOLD_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            end.cancel()
            held.discard(answer)
            if not held:
                self._held.pop(node, None)

    def close(self) -> None:
        """Answer all questions, and hold none from now on."""
        self._is_closed = True
        for node in list(self._held):
            self._answer(node)

    def _answer(self, node: int) -> None:
        for answer in self._held.get(node, ()):
            if not answer.done():
                answer.set_result(None)

    def _is_waiting(self, node: int) -> bool:
        """Return whether there is a request to a node that it has neither received nor answered.

        Flower deletes a request's object when the node confirms that it has received it.
        """
        store = self._state.object_store.store  # type: ignore[attr-defined] # the one in memory
        request_id = self._request_ids.get(node, "")
        is_answered = request_id in self._state.message_ins_id_to_message_res_id
        return request_id in store and not is_answered
