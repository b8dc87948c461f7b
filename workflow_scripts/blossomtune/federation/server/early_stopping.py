"""What the losses while training decide: which round is best, and whether to go on."""

from collections.abc import Sequence

from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.config.federation import FederationSettings


def get_monitored_loss(record: RoundRecord, federation: FederationSettings) -> float | None:
    """A round's loss that counts: the clients' where they evaluate, else the server's."""
    evaluation = record.client_evaluation if federation.fraction_evaluate else record.evaluation
    return evaluation.loss if evaluation else None


def find_best_round(history: Sequence[RoundRecord], federation: FederationSettings) -> int | None:
    """The trained round with the smallest loss, the first of several; None before there is one."""
    losses = [(loss, number) for number, loss in _collect_losses(history, federation)]
    return min(losses)[1] if losses else None


def get_stop_reason(history: Sequence[RoundRecord], federation: FederationSettings) -> str | None:
    """Why no further round should be trained, as a sentence; None to go on.

    As usual with patience: an evaluation counts as an improvement if it is below the best one so
    far by more than ``min_delta``.
    """
    rule = federation.early_stopping
    if rule is None:
        return None
    best, at, since = float("inf"), 0, 0
    for number, loss in _collect_losses(history, federation):
        if loss < best - rule.min_delta:
            best, at, since = loss, number, 0
        else:
            since += 1
    if since < rule.patience:
        return None
    return (
        f"early stopping: the loss has not improved by more than {rule.min_delta:g} in "
        f"{since} evaluations since round {at} ({best:.4f})"
    )


def _collect_losses(
    history: Sequence[RoundRecord], federation: FederationSettings
) -> list[tuple[int, float]]:
    """Round and loss; not of a round that the server looked at as the last of fewer rounds."""
    every = 1 if federation.fraction_evaluate else federation.evaluate_every
    counted = [r for r in history if r.round % every == 0 or r.round == federation.rounds]
    losses = [(r.round, get_monitored_loss(r, federation)) for r in counted if r.round]
    return [(number, loss) for number, loss in losses if loss is not None]
