"""Describe the losses by round and the batch sizes."""

from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults


def describe_learning(e: ExperimentResults) -> list[str]:
    """Return sentences on the losses, early stopping and the round of the result."""
    history, federation = e.history, e.config["federation"]
    sentences = []
    evaluations = [r.evaluation for r in history.rounds if r.evaluation]
    if evaluations:
        rows = formatting.format_count(evaluations[0].rows)
        losses = [evaluations[0].loss, evaluations[-1].loss]
        sentences.append(
            f"The server’s own check on {rows} held-out examples"
            f"{_format_interval(federation['evaluate_every'])} went from a loss of "
            f"{' to '.join(map(formatting.format_number, losses))}."
        )
    if history.federated_losses:
        losses = [history.federated_losses[0][1], history.federated_losses[-1][1]]
        sentences.append(
            "On rows that clients hold out themselves it went from "
            f"{' to '.join(map(formatting.format_number, losses))}."
        )
    last = history.rounds[-1].round
    if history.stop_reason:
        sentences.append(
            f"The run stopped early, after round {last} of {federation['rounds']}: "
            f"{history.stop_reason.removeprefix('early stopping: ').rstrip('.')}."
        )
    if history.best_round is not None and history.best_round != last:
        result = "it is" if history.result_round == history.best_round else "the last one is"
        sentences.append(
            f"The loss was smallest after round {history.best_round}; {result} the result."
        )
    return sentences


def _format_interval(rounds: int) -> str:
    return "" if rounds == 1 else f", every {rounds} rounds,"


def describe_batch_sizes(e: ExperimentResults) -> str:
    """Return a sentence on clients with smaller batches than configured; empty without any."""
    configured = e.config["training"]["arguments"].get("per_device_train_batch_size", 8)
    smaller: dict[str, int] = {}
    for record in e.history.rounds:
        for c in record.clients:
            if c.batch_size != configured:
                smaller[c.name] = min(c.batch_size, smaller.get(c.name, c.batch_size))
    if not smaller:
        return ""
    if len(smaller) > 6:
        number = formatting.format_amount(len(smaller), "client")
        clients = f"{number} (down to {min(smaller.values())} at a time)"
    else:
        clients = formatting.join_list([f"{n} ({size} at a time)" for n, size in smaller.items()])
    return (
        f"Memory was too small for {configured} examples at a time on {clients}; they took as many "
        "examples a step, in more and smaller batches."
    )
