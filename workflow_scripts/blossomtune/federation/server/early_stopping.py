"""Find the best round, and decide when to stop."""

from collections.abc import Sequence

from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.config.federation import FederationSettings


def get_monitored_loss(record: RoundRecord, federation: FederationSettings) -> float | None:
    """Look up the loss that decides: the clients' if they evaluate, otherwise the server's.

    Args:
        record: Record of a round.
        federation: The experiment's federation block.

    Returns:
        Loss in nats per completion token; None if there is none in this round.
    """
    evaluation = record.client_evaluation if federation.fraction_evaluate else record.evaluation
    return evaluation.loss if evaluation else None


def find_best_round(history: Sequence[RoundRecord], federation: FederationSettings) -> int | None:
    """Find the first trained round with the smallest loss.

    Args:
        history: Records of the rounds.
        federation: The experiment's federation block.

    Returns:
        Number of the round; None without any loss.
    """
    losses = [(loss, number) for number, loss in _collect_losses(history, federation)]
    return min(losses)[1] if losses else None


def get_stop_reason(history: Sequence[RoundRecord], federation: FederationSettings) -> str | None:
    """Decide whether to stop.

    An evaluation is an improvement if its loss is below the best one by more than ``min_delta``.
    The run stops after ``patience`` evaluations without improvement.

    Args:
        history: Records of the rounds.
        federation: The experiment's federation block.

    Returns:
        Why to stop, as a sentence; None to continue.
    """
    settings = federation.early_stopping
    if settings is None:
        return None
    best_loss, best_round, num_without_improvement = float("inf"), 0, 0
    for number, loss in _collect_losses(history, federation):
        if loss < best_loss - settings.min_delta:
            best_loss, best_round, num_without_improvement = loss, number, 0
        else:
            num_without_improvement += 1
    if num_without_improvement < settings.patience:
        return None
    return (
        f"early stopping: the loss has not improved by more than {settings.min_delta:g} in "
        f"{num_without_improvement} evaluations since round {best_round} ({best_loss:.4f})"
    )


def _collect_losses(
    history: Sequence[RoundRecord], federation: FederationSettings
) -> list[tuple[int, float]]:
    """Return round and loss of trained rounds.

    A round that was evaluated only as the last one of a shorter run is left out.
    """
    every = 1 if federation.fraction_evaluate else federation.evaluate_every
    regular = [r for r in history if r.round % every == 0 or r.round == federation.rounds]
    losses = [(r.round, get_monitored_loss(r, federation)) for r in regular if r.round]
    return [(number, loss) for number, loss in losses if loss is not None]
