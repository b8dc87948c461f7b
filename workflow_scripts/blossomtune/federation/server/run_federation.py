"""Run a federation from its last checkpoint to its results."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace

from flwr.serverapp import Grid

from blossomtune.artifacts.audit_log import AUDIT_LOG_FILE, AuditLog
from blossomtune.artifacts.round_record import RoundRecord, ServerEvaluation
from blossomtune.errors import UserError
from blossomtune.federation.paths import ServerPaths
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.run_identity import build_run_identity
from blossomtune.federation.server.acceptance import find_non_finite_loss
from blossomtune.federation.server.audit import ServerAudit
from blossomtune.federation.server.budget import OverBudgetError
from blossomtune.federation.server.deadline import JobDeadline
from blossomtune.federation.server.early_stopping import find_best_round, get_stop_reason
from blossomtune.federation.server.evaluation_device import select_evaluation_device
from blossomtune.federation.server.evaluator import ServerEvaluator
from blossomtune.federation.server.progress import start_trackers, write_progress
from blossomtune.federation.server.results import write_results
from blossomtune.federation.server.round_log import format_round
from blossomtune.federation.server.round_result import RoundResult
from blossomtune.federation.server.rounds import RoundRunner, skip_evaluation
from blossomtune.federation.server.server_state import ServerState
from blossomtune.gpus import GpuSampler, list_visible_gpus
from blossomtune.named_tensors import StateDict
from blossomtune.terminal_bar import iterate_with_bar
from blossomtune.training import adapter
from blossomtune.training.checkpoints import Checkpoint, CheckpointStore
from blossomtune.training.initial_adapter import build_initial_adapter

logger = logging.getLogger(__name__)


def run_federation(
    grid: Grid,
    run: FederatedRun,
    authenticated_clients: Mapping[int, int] | None = None,
    key_fingerprints: Mapping[int, str] | None = None,
) -> None:
    """Run the remaining rounds of a federation, and write its adapter and history.

    Each round ends with a checkpoint, which a restarted run continues from.

    Args:
        grid: Connection to the nodes.
        run: The federation, with the server's paths.
        authenticated_clients: The client whose key a node has, by node id, if nodes have keys.
        key_fingerprints: Fingerprints of these keys, by node id, for the audit log.

    Raises:
        UserError: If the adapter does not fit the model or the aggregation, too few clients take
            part in a round, the first round exceeds the budget, or the audit log was changed.
    """
    if not isinstance(run.paths, ServerPaths):
        raise UserError("the run has no paths for adapter and history", "give those of the server")
    logging.getLogger("flwr").setLevel(logging.ERROR)  # it logs each aggregation
    spec, num_rounds = run.spec, run.spec.federation.rounds
    checkpoints = CheckpointStore(
        run.paths.checkpoints,
        build_run_identity(spec, run.paths, run.resources.device),
        RoundRecord,
        save_total_limit=spec.federation.keep_checkpoints,
    )
    initial = build_initial_adapter(run.paths.model, spec.lora, spec.seed)
    adapter.require_linear_layers(initial.state, spec.lora, spec.federation.aggregation)
    checkpoint = _load_checkpoint(checkpoints, num_rounds, initial.state)
    audit = ServerAudit(AuditLog(run.paths.checkpoints / AUDIT_LOG_FILE), key_fingerprints)
    audit.record_start(checkpoints.folder.name, checkpoint.round_number)
    stop_reason = None
    if checkpoint.round_number < num_rounds:  # otherwise there is nothing left to stop
        stop_reason = get_stop_reason(checkpoint.history, spec.federation)
        if not stop_reason:
            device = select_evaluation_device(run)
            evaluator = ServerEvaluator(spec, run.paths, run.resources.cores, device)
            evaluator.load_model()
            runner = RoundRunner(
                grid,
                spec,
                checkpoints.folder.name,
                checkpoint,
                authenticated_clients,
                run.paths.checkpoints,
                audit,
            )
            write_progress(run, checkpoint.history)
            with start_trackers(run):
                checkpoint, stop_reason = _run_rounds(
                    run, runner, evaluator, checkpoints, checkpoint, audit
                )
    if stop_reason:
        logger.info("stopped: %s", stop_reason)
    best_checkpoint = checkpoints.load_best(max_round=checkpoint.round_number)
    write_results(
        spec,
        run.paths,
        run.resources.device,
        checkpoint,
        best_checkpoint,
        stop_reason,
        initial.exclude_modules,
    )
    audit.record_result(run.paths)


def _load_checkpoint(
    checkpoints: CheckpointStore[RoundRecord], num_rounds: int, initial_state: StateDict
) -> Checkpoint[RoundRecord]:
    """Return the last checkpoint, or a new one before the first round."""
    if checkpoint := checkpoints.load_latest(max_round=num_rounds):
        logger.info("going on after round %d, which is done", checkpoint.round_number)
        return checkpoint
    if checkpoints.list_rounds_after(num_rounds):
        logger.info("starting with round 1: of the first %d rounds none is kept", num_rounds)
    for difference in checkpoints.find_identity_changes()[:1]:
        logger.info("starting with round 1: earlier rounds had %s", difference)
    return Checkpoint(0, initial_state, [])


def _run_rounds(
    run: FederatedRun,
    runner: RoundRunner,
    evaluator: ServerEvaluator,
    checkpoints: CheckpointStore[RoundRecord],
    checkpoint: Checkpoint[RoundRecord],
    audit: ServerAudit,
) -> tuple[Checkpoint[RoundRecord], str | None]:
    """Train until the last round or a reason to stop; return the last checkpoint and the reason."""
    federation, first_round = run.spec.federation, checkpoint.round_number + 1
    num_rounds = federation.rounds
    if not checkpoint.history:
        evaluation = evaluator.evaluate(checkpoint.adapter_state, {})
        if reason := find_non_finite_loss(evaluation):
            raise UserError(
                f"{reason} before any training",
                "the base model needs another training.base_dtype, or its files are damaged",
            )
        record = RoundResult(0, evaluation=evaluation).to_record()
        logger.info(format_round(record, num_rounds, 0.0))
        checkpoint = replace(checkpoint, history=[record])
        audit.record_round(record, checkpoint.adapter_state)
        write_progress(run, checkpoint.history)

    def evaluate(state: ServerState) -> ServerEvaluation | None:
        return evaluator.evaluate(state.adapter, state.base_deltas)

    started, deadline = time.monotonic(), JobDeadline(run.resources.deadline)
    with GpuSampler(list_visible_gpus() if run.resources.device == "cuda" else []) as gpus:
        remaining = range(first_round, num_rounds + 1)
        for number in iterate_with_bar(remaining, "round", num_rounds, first_round - 1):
            deadline.check(number - 1)
            gpus.collect_usage()
            is_evaluated = number % federation.evaluate_every == 0 or number == num_rounds
            try:
                result = runner.run_round(number, evaluate if is_evaluated else skip_evaluation)
            except OverBudgetError as error:
                return checkpoint, str(error)
            result.gpus = gpus.collect_usage()
            state = runner.state
            history = [*checkpoint.history, result.to_record()]
            checkpoint = Checkpoint(number, state.adapter, history, state.state_dict())
            audit.record_round(history[-1], state.adapter)
            is_best = find_best_round(history, federation) == number
            checkpoints.save(checkpoint, is_best=is_best)
            seconds_per_round = (time.monotonic() - started) / (number - first_round + 1)
            seconds_left = seconds_per_round * (num_rounds - number)
            write_progress(run, history, seconds_left)
            logger.info(format_round(history[-1], num_rounds, seconds_left))
            stop_reason = get_stop_reason(history, federation)
            if stop_reason and number < num_rounds:
                return checkpoint, stop_reason
    return checkpoint, None
