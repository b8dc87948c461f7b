"""Write the adapter and the history of a federation."""

from blossomtune.aggregation.layers import stack_base_deltas
from blossomtune.artifacts.files import write_artifact
from blossomtune.artifacts.history import History, PrivacyGuarantee
from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.config.lora import compute_scaling
from blossomtune.errors import UserError
from blossomtune.federation.messages.base_deltas import unflatten_base_deltas
from blossomtune.federation.paths import ServerPaths
from blossomtune.federation.server.aggregate_round import single_threaded
from blossomtune.federation.server.early_stopping import find_best_round
from blossomtune.federation.spec import FederationSpec
from blossomtune.named_tensors import strip_prefix
from blossomtune.training import adapter_files
from blossomtune.training.checkpoints import Checkpoint


def write_results(
    spec: FederationSpec,
    paths: ServerPaths,
    device: str,
    last_checkpoint: Checkpoint[RoundRecord],
    best_checkpoint: Checkpoint[RoundRecord] | None,
    stop_reason: str | None,
    exclude_modules: str | None = None,
) -> None:
    """Write the adapter and the history.

    Args:
        spec: What was trained.
        paths: Paths of the outputs.
        device: Device that clients trained on.
        last_checkpoint: Checkpoint of the last round.
        best_checkpoint: Checkpoint of the best round, if there is one.
        stop_reason: Why the run ended before its last round, if it did.
        exclude_modules: PEFT's key of this name, for the adapter's configuration.

    Raises:
        UserError: If no round was trained, or the best round has no checkpoint.
    """
    federation = spec.federation
    if last_checkpoint.round_number == 0:
        raise UserError(f"no round was trained: {stop_reason}", "raise the budget")
    best_round = find_best_round(last_checkpoint.history, federation)
    checkpoint = last_checkpoint
    if federation.result == "best" and best_round not in (None, last_checkpoint.round_number):
        if best_checkpoint is None or best_checkpoint.round_number != best_round:
            raise UserError(
                f"the best round was {best_round}, and its checkpoint is gone",
                f"remove {paths.checkpoints} and train again, or use federation.result: last",
            )
        checkpoint = best_checkpoint
    _save_adapter(spec, paths, checkpoint, exclude_modules)
    guarantee, spent = None, last_checkpoint.history[-1].privacy
    if federation.privacy and spent:
        settings = federation.privacy.model_dump(include={"noise_multiplier", "clipping", "side"})
        guarantee = PrivacyGuarantee(epsilon=spent.epsilon, delta=spent.delta, **settings)
    history = History(
        clients=[client.name for client in spec.clients],
        ranks=[client.rank for client in spec.clients],
        device=device,
        base_dtype=spec.training.base_dtype,
        strategy=federation.strategy.name,
        aggregation=federation.aggregation,
        precision=federation.communication.precision,
        stop_reason=stop_reason,
        best_round=best_round,
        result_round=checkpoint.round_number,
        privacy=guarantee,
        rounds=last_checkpoint.history,
    )
    write_artifact(paths.history, history)


def _save_adapter(
    spec: FederationSpec,
    paths: ServerPaths,
    checkpoint: Checkpoint[RoundRecord],
    exclude_modules: str | None,
) -> None:
    """Write the adapter, together with all updates of the base weights."""
    lora, name = spec.lora, spec.base_model_name
    base_deltas = unflatten_base_deltas(strip_prefix("base_deltas", checkpoint.server_state))
    if not base_deltas:
        adapter_files.save_adapter(
            checkpoint.adapter_state, lora, name, paths.adapter, exclude_modules=exclude_modules
        )
        return
    in_order = [base_deltas[number] for number in sorted(base_deltas)]
    scale = compute_scaling(lora, lora.r)
    with single_threaded():
        factors = stack_base_deltas(checkpoint.adapter_state, scale, in_order)
    adapter_files.save_adapter_from_factors(factors, lora, name, paths.adapter, exclude_modules)
