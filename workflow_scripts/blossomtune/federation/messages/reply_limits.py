"""Compute the limits of what an honest client can report in a round."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from blossomtune.federation.messages.metric_ranges import Range
from blossomtune.federation.spec import ClientSpec, FederationSpec
from blossomtune.training import schedule

MAX_UNKNOWN_ROWS = 10_000_000
"""Most rows of a client that keeps its rows, whose number the server does not know."""

MAX_LOSS = 10_000.0
"""Largest loss in nats per token. A model that knows nothing has about 12."""

MAX_MEMORY_BYTES = 2**50
MAX_SECONDS = 1e9


@dataclass(frozen=True)
class ReplyLimits:
    """Limits of what a client's replies say.

    Attributes:
        train: Range of each metric of a train reply.
        evaluate: Range of each metric of an evaluate reply.
        update_per_step: Largest root mean square of the change per number and step; None if there
            is no limit.
    """

    train: Mapping[str, Range]
    evaluate: Mapping[str, Range]
    update_per_step: float | None

    def compute_max_update_norm(self, num_steps: float, num_elements: int) -> float:
        """Compute the largest L2 norm of an update.

        Args:
            num_steps: Number of optimizer steps.
            num_elements: Number of trained numbers.

        Returns:
            The norm; infinity if there is no limit.
        """
        if self.update_per_step is None:
            return math.inf
        return self.update_per_step * num_steps * math.sqrt(num_elements)


def compute_reply_limits(spec: FederationSpec, client: int) -> ReplyLimits:
    """Compute the limits of a client's replies.

    Smaller batches for lack of memory keep the rows of an optimizer step, and so all counts.

    Args:
        spec: What is trained.
        client: The client's number.

    Returns:
        The limits.
    """
    settings, training = spec.clients[client], spec.training
    num_rows = settings.num_rows or MAX_UNKNOWN_ROWS
    num_steps = schedule.count_local_steps(training, num_rows)
    batch_size: int = training.arguments.get("per_device_train_batch_size", 8)
    max_rows = num_steps * schedule.effective_batch_size(training)
    validation_rows = settings.num_validation_rows
    max_update_norm = spec.federation.max_update_norm
    return ReplyLimits(
        train={
            "num-examples": Range(1, max_rows + _count_surplus(spec, settings, max_rows), True),
            "num-tokens": Range(0, max_rows * spec.max_length, True),
            "num-steps": Range(1, num_steps, True),
            "train-loss": Range(0, MAX_LOSS),
            "batch-size": Range(1, batch_size, True),
            "seconds": Range(0, min(spec.federation.round_timeout, MAX_SECONDS)),
            "gpu-memory": Range(0, MAX_MEMORY_BYTES),
        },
        evaluate={
            "loss": Range(0, MAX_LOSS),
            "rows": Range(validation_rows or 1, validation_rows or MAX_UNKNOWN_ROWS, True),
        },
        update_per_step=max_update_norm and max_update_norm * training.learning_rate_max,
    )


def _count_surplus(spec: FederationSpec, client: ClientSpec, max_rows: int) -> int:
    """Count by how much examples can exceed rows, which packing fills with several."""
    if not spec.packing:
        return 0
    if not client.num_rows:
        return max_rows * spec.max_length
    num_passes = math.ceil(max_rows / client.num_rows)
    return num_passes * (client.num_examples - client.num_rows)
