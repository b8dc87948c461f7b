"""Keep the bytes of all messages within the configured budget."""

from collections.abc import Iterable

from blossomtune.artifacts.round_record import ClientTraffic, RoundRecord


class OverBudgetError(Exception):
    """The next round does not fit into the budget; the message states what it would need."""


class CommunicationBudget:
    """Bytes moved so far, and their limit.

    Args:
        budget_mb: Limit in megabytes (10^6 bytes), if there is one.
        history: Records of the rounds so far.
    """

    def __init__(self, budget_mb: float | None, history: Iterable[RoundRecord]) -> None:
        self.budget_mb = budget_mb
        self._bytes_moved = sum(record.bytes_moved for record in history)

    def spend(self, traffic: Iterable[ClientTraffic]) -> None:
        """Count the bytes of messages that were sent."""
        self._bytes_moved += sum(each.bytes_down + each.bytes_up for each in traffic)

    def allows(self, num_bytes: int) -> bool:
        """Return whether messages of this size fit into the budget."""
        return self.budget_mb is None or self._bytes_moved + num_bytes <= self.budget_mb * 1e6

    def require(self, round_number: int, num_bytes: int) -> None:
        """Raise if a round does not fit into the budget.

        Args:
            round_number: Number of the round.
            num_bytes: Upper bound for the size of its messages.

        Raises:
            OverBudgetError: If the round does not fit.
        """
        if self.budget_mb is not None and not self.allows(num_bytes):
            left = self.budget_mb - self._bytes_moved / 1e6
            raise OverBudgetError(
                f"round {round_number} would move {num_bytes / 1e6:.1f} MB, and of the budget of "
                f"{self.budget_mb:g} MB {left:.1f} MB are left"
            )
