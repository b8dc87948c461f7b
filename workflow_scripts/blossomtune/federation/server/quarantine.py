"""Stop asking clients that fail again and again, since each may cost a round its timeout."""

import logging
from collections import Counter
from collections.abc import Container, Iterable

from blossomtune.artifacts.round_record import ClientFailure
from blossomtune.text_cleaning import MAX_LINE_CHARACTERS, clean_line

logger = logging.getLogger(__name__)

NODE_UNAVAILABLE = 5
"""Code of Flower's error for a node that is not connected; such a failure takes no time."""


class Quarantine:
    """Clients that are not asked again by this process.

    A run that is restarted asks them again. That does not change the adapter: nothing of a client
    in quarantine is aggregated, as nothing of a client that fails.

    Args:
        max_failures: Failures in a row after which a client is not asked again; 0 for never.
    """

    def __init__(self, max_failures: int) -> None:
        self._max_failures = max_failures
        self._failures: Counter[tuple[int, str]] = Counter()  # in a row, by client and task
        self._clients: set[int] = set()

    def __contains__(self, client: int) -> bool:
        """Return whether a client is not asked again."""
        return client in self._clients

    def update(
        self,
        task: str,
        asked: Container[int],
        successful: Iterable[int],
        failures: Iterable[ClientFailure],
    ) -> list[ClientFailure]:
        """Count failures in a row; each task counts by itself.

        Args:
            task: Type of the messages.
            asked: Clients whose failures count.
            successful: Clients with a usable reply.
            failures: Records of the other clients.

        Returns:
            The records, whose reasons name the quarantine.
        """
        for client in successful:
            del self._failures[client, task]
        return [self._count(task, failure, failure.client in asked) for failure in failures]

    def _count(self, task: str, failure: ClientFailure, was_asked: bool) -> ClientFailure:
        client, reason = failure.client, failure.reason
        if client in self._clients:
            reason = "in quarantine; a restarted run asks it again"
        elif was_asked:
            self._failures[client, task] += 1
            if self._failures[client, task] == self._max_failures:
                self._clients.add(client)
                note = f"in quarantine after {self._max_failures} failures in a row"
                logger.warning("client %d (%s) is %s: %s", client, failure.name, note, reason)
                rest = MAX_LINE_CHARACTERS - len(f"; {note}")
                reason = f"{clean_line(reason, rest)}; {note}"
        return failure.model_copy(update={"reason": reason})
