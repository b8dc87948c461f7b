"""Format the log line of a round."""

from blossomtune.artifacts.round_record import RoundRecord


def format_round(record: RoundRecord, num_rounds: int, seconds_left: float) -> str:
    """Format a line about a round, one per failed client, and one with the absent clients.

    Args:
        record: Record of the round.
        num_rounds: Number of rounds of the whole run.
        seconds_left: Estimated time until the end of the run.

    Returns:
        The lines.
    """
    parts = [f"round {record.round}/{num_rounds}"]
    if record.train_loss is not None:
        parts.append(f"train loss {record.train_loss:.4f}")
    if record.evaluation:
        parts.append(f"held-out loss {record.evaluation.loss:.4f}")
    evaluation = record.client_evaluation
    if evaluation and evaluation.loss is not None:
        parts.append(f"clients' loss {evaluation.loss:.4f}")
    if record.clients:
        num_sampled = len(record.clients) + len(record.failed)
        parts += [f"{len(record.clients)} of {num_sampled} clients", f"{record.seconds:.0f} s"]
        parts += [f"{record.bytes_moved / 1e6:.1f} MB", f"about {seconds_left:.0f} s left"]
    if record.privacy:
        parts.append(f"epsilon {record.privacy.epsilon:.2f}")
    failures = [("failed", failure) for failure in record.failed]
    failures += [("gave no loss", failure) for failure in evaluation.failed] if evaluation else []
    lines = [f"\n  {event}: client {f.client} ({f.name}): {f.reason}" for event, f in failures]
    if record.absent:
        lines.append(f"\n  not connected: {', '.join(record.absent)}")
    if record.rejection:
        lines.append(f"\n  the adapter before this round is kept: {record.rejection}")
    return " · ".join(parts) + "".join(lines)
