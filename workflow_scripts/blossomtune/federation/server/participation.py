"""Count the rounds in which each client was sampled, which decides the rows of its next one."""

from collections import Counter
from collections.abc import Sequence

from blossomtune.artifacts.round_record import RoundRecord


def count_sampled_rounds(history: Sequence[RoundRecord]) -> Counter[int]:
    """Return the number of rounds in which each client was sampled, whether it replied or not."""
    return Counter(
        traffic.client for record in history for traffic in (*record.clients, *record.failed)
    )
