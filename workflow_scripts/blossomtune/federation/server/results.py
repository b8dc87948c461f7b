"""TODO docstring."""

from typing import TYPE_CHECKING

from blossomtune.artifacts.files import write_artifact
from blossomtune.artifacts.history import History, PrivacyGuarantee
from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.federation.run import FederatedRun

if TYPE_CHECKING:
    from blossomtune.training.checkpoints import Checkpoint


def write_results(
    run: FederatedRun,
    last_checkpoint: "Checkpoint[RoundRecord]",
    best_checkpoint: "Checkpoint[RoundRecord] | None",
    stop_reason: str | None,
) -> None:
    """Writes what came out.

    Raises:
        UserError: where not one round was trained.
    """
    from blossomtune.aggregation.layers import stack_base_deltas
    from blossomtune.config.lora import compute_scaling
    from blossomtune.errors import UserError
    from blossomtune.federation.messages.base_deltas import unflatten_base_deltas
    from blossomtune.federation.server import early_stopping
    from blossomtune.federation.server.aggregate_round import single_threaded
    from blossomtune.named_tensors import strip_prefix
    from blossomtune.training import adapter_files

    spec, paths = run.spec, run.paths
    federation = spec.federation
    if last_checkpoint.round_number == 0:
        raise UserError(f"no round was trained: {stop_reason}", "raise the budget")
    number = early_stopping.find_best_round(last_checkpoint.history, federation)
    result = last_checkpoint
    if federation.result == "best" and number not in (None, last_checkpoint.round_number):
        if best_checkpoint is None or best_checkpoint.round_number != number:
            raise UserError(
                f"the best round was {number}, and its checkpoint is gone",
                f"remove {paths.checkpoints} and train again, or use federation.result: last",
            )
        result = best_checkpoint
    folded = unflatten_base_deltas(strip_prefix("fold", result.server_state))
    if folded:
        ours = compute_scaling(spec.lora, spec.lora.r)
        with single_threaded():
            products = stack_base_deltas(
                result.adapter_state, ours, [folded[n] for n in sorted(folded)]
            )
        adapter_files.save_adapter_from_factors(
            products, spec.lora, spec.base_model_name, paths.adapter
        )
    else:
        adapter_files.save_adapter(
            result.adapter_state, spec.lora, spec.base_model_name, paths.adapter
        )
    guarantee, spent = None, last_checkpoint.history[-1].privacy
    if federation.privacy and spent:
        settings = federation.privacy.model_dump(include={"noise_multiplier", "clipping", "side"})
        guarantee = PrivacyGuarantee(epsilon=spent.epsilon, delta=spent.delta, **settings)
    history = History(
        clients=[client.name for client in spec.clients],
        ranks=[client.rank for client in spec.clients],
        device=run.resources.device,
        strategy=federation.strategy.name,
        aggregation=federation.aggregation,
        precision=federation.communication.precision,
        stop_reason=stop_reason,
        best_round=number,
        result_round=result.round_number,
        privacy=guarantee,
        rounds=last_checkpoint.history,
    )
    write_artifact(paths.history, history)
