"""Train or evaluate the global adapter on one client's rows."""

import time

import torch

from blossomtune.aggregation.registry import select_trainable_factor
from blossomtune.federation.client.worker import Worker, get_worker, load_client_rows
from blossomtune.federation.messages.base_deltas import (
    BaseDeltas,
    flatten_base_deltas,
    unflatten_base_deltas,
)
from blossomtune.federation.messages.replies import TrainReply
from blossomtune.federation.messages.requests import TrainRequest
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.spec import FederationSpec
from blossomtune.modeling import devices
from blossomtune.modeling.eval_loss import compute_eval_loss
from blossomtune.named_tensors import StateDict, add_prefix, strip_prefix
from blossomtune.training import adapter, scaffold, schedule
from blossomtune.training.trainer import LocalObjective, train_scheduled_round


def train_round(
    run: FederatedRun, client: int, request: TrainRequest, client_state: StateDict
) -> TrainReply:
    """Train one client for one round.

    Args:
        run: The federation.
        client: The client's number.
        request: The server's request.
        client_state: The client's tensors after its last accepted round.

    Returns:
        The trained tensors with metrics, and the client's new state.
    """
    started = time.perf_counter()
    spec = run.spec
    worker, base_deltas = get_worker(run), _merge_base_deltas(request, client_state)
    model = worker.prepare_model(spec.clients[client].rank, base_deltas)
    devices.empty_cache()  # of a client that failed
    devices.reset_peak_memory(model.device)
    adapter.set_adapter_state(model, _complete_state(worker, request.state))
    factor = select_trainable_factor(spec.federation.aggregation, request.round)
    adapter.set_trainable_factor(model, factor)
    start = adapter.select_factor(adapter.get_adapter_state(model), factor)

    client_control: StateDict = {}
    correction, control_delta = None, None
    if (server_control := request.server_control) is not None:
        zeros = {name: torch.zeros_like(value) for name, value in start.items()}
        client_control = strip_prefix("control", client_state) or zeros
        correction = _subtract(server_control, client_control)
    objective = LocalObjective(
        proximal_mu=getattr(spec.federation.strategy, "mu", 0.0),
        scaffold_correction=correction,
        optimizer_state=strip_prefix(f"optimizer/{factor}", client_state) or None,
        return_optimizer_state=spec.training.optimizer_state == "kept",
    )
    scheduled = _schedule_round(spec, client, request)
    seed = schedule.derive_training_seed(spec.seed, client, request.round)
    rows = load_client_rows(run.paths.preprocessed, client)
    result = train_scheduled_round(
        model, worker.tokenizer, rows, spec.training.arguments, scheduled, seed, objective
    )

    state = adapter.select_factor(adapter.get_adapter_state(model), factor)
    if server_control is not None:
        num_steps = result.counts["steps"]
        new_control = scaffold.update_client_control(
            client_control, server_control, start, state, scheduled.learning_rate, num_steps
        )
        control_delta = _subtract(new_control, client_control)
        client_control = new_control
    peak_memory = devices.get_peak_memory(model.device)
    devices.empty_cache()  # for other clients on the GPU, and for the server's evaluation
    return TrainReply(
        initial_state=start,
        state=state,
        control_delta=control_delta,
        metrics={
            **{f"num-{name}": float(count) for name, count in result.counts.items()},
            "train-loss": result.loss,
            "batch-size": float(result.batch_size),
            "seconds": time.perf_counter() - started,
            "gpu-memory": float(peak_memory),
        },
        client_state={
            **client_state,
            **add_prefix(f"optimizer/{factor}", result.optimizer_state),
            **add_prefix("control", client_control),
            **add_prefix("base_deltas", flatten_base_deltas(base_deltas)),
        },
    )


def _schedule_round(
    spec: FederationSpec, client: int, request: TrainRequest
) -> schedule.ScheduledRound:
    """Return the learning rate, the number of steps and the rows of a client's round."""
    num_rows, training, number = spec.clients[client].num_rows, spec.training, request.round
    learning_rate = schedule.compute_learning_rate(training, number, spec.federation.rounds)
    steps = schedule.count_local_steps(training, num_rows)
    count = steps * schedule.effective_batch_size(training)
    first = request.sampled_rounds * count
    rows = schedule.select_examples(spec.seed, client, num_rows, first, count)
    return schedule.ScheduledRound(number, learning_rate, steps, rows)


def evaluate_round(
    run: FederatedRun, client: int, request: TrainRequest, client_state: StateDict
) -> dict[str, float]:
    """Evaluate the global adapter on the client's validation rows.

    Args:
        run: The federation.
        client: The client's number.
        request: The server's request.
        client_state: The client's tensors after its last accepted round.

    Returns:
        ``loss`` in nats per completion token, and the number of ``rows``.
    """
    worker = get_worker(run)
    base_deltas = _merge_base_deltas(request, client_state)
    model = worker.prepare_model(run.spec.clients[client].rank, base_deltas)
    adapter.set_adapter_state(model, _complete_state(worker, request.state))
    rows = load_client_rows(run.paths.preprocessed, client, ".validation")
    loss = compute_eval_loss(model, rows.to_list())
    return {"loss": loss, "rows": float(len(rows))}


def _merge_base_deltas(request: TrainRequest, client_state: StateDict) -> BaseDeltas:
    """Return all base updates: those that the client has stored, and the server's new ones."""
    return unflatten_base_deltas(strip_prefix("base_deltas", client_state)) | request.base_deltas


def _complete_state(worker: Worker, state: StateDict) -> StateDict:
    """Add the tensors that the server left out because they never change."""
    return (worker.initial_state if len(state) < len(worker.initial_state) else {}) | state


def _subtract(minuend: StateDict, subtrahend: StateDict) -> StateDict:
    return {name: minuend[name] - value for name, value in subtrahend.items()}
