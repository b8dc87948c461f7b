"""TODO docstring."""

from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults


def describe_learning(e: ExperimentResults) -> list[str]:
    """What was watched, whether the run stopped early, and which round is the result."""
    history, federation = e.history, e.config["federation"]
    sentences = []
    held = [r.evaluation for r in history.rounds if r.evaluation]
    if held:
        sentences.append(
            f"The server’s own check on {formatting.format_count(held[0].rows)} held-out examples"
            f"{_format_interval(federation['evaluate_every'])} went from a loss of "
            f"{formatting.format_number(held[0].loss)} to {formatting.format_number(held[-1].loss)}."
        )
    own = [loss for _, loss in history.federated_losses]
    if own:
        sentences.append(
            "On rows that clients hold out themselves it went from "
            f"{formatting.format_number(own[0])} to {formatting.format_number(own[-1])}."
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
    """Whose batches had to be smaller than configured, in a sentence; nothing if none had to."""
    wanted = e.config["training"]["arguments"].get("per_device_train_batch_size", 8)
    smaller: dict[str, int] = {}
    for record in e.history.rounds:
        for c in record.clients:
            if c.batch_size != wanted:
                smaller[c.name] = min(c.batch_size, smaller.get(c.name, c.batch_size))
    if not smaller:
        return ""
    if len(smaller) > 6:
        who = f"{formatting.format_amount(len(smaller), 'client')} (down to {min(smaller.values())} at a time)"
    else:
        who = formatting.join_list([f"{name} ({size} at a time)" for name, size in smaller.items()])
    return (
        f"Memory was too small for {wanted} examples at a time on {who}; they took as many "
        "examples a step, in more and smaller batches."
    )
