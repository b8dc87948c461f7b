"""TODO docstring."""

import tempfile
import time
from pathlib import Path

import torch

from blossomtune.aggregation.registry import select_trainable_factor
from blossomtune.federation.client.worker import Worker, get_worker, load_client_rows
from blossomtune.federation.messages.base_deltas import flatten_base_deltas, unflatten_base_deltas
from blossomtune.federation.messages.replies import TrainReply
from blossomtune.federation.messages.requests import TrainRequest
from blossomtune.federation.run import FederatedRun
from blossomtune.modeling.eval_loss import compute_eval_loss
from blossomtune.modeling.tokenizer import get_pad_token_id
from blossomtune.named_tensors import StateDict, add_prefix, strip_prefix
from blossomtune.seeds import derive_seed
from blossomtune.training import adapter, scaffold, schedule
from blossomtune.training.sft_config import build_sft_config
from blossomtune.training.trainer import LocalObjective, train_adapter


def train_round(
    run: FederatedRun, client: int, request: TrainRequest, client_state: StateDict
) -> TrainReply:
    """Trains one client for one round.

    Args:
        run: the federation.
        client: the client's number.
        order: what the server sent.
        kept: what the client kept after its last round.
    """
    started = time.perf_counter()
    spec = run.spec
    federation, rows = spec.federation, spec.clients[client].num_rows
    folded = unflatten_base_deltas(strip_prefix("fold", client_state)) | request.base_deltas
    worker = get_worker(run)
    model = worker.prepare_model(spec.clients[client].rank, folded)
    if run.resources.device == "cuda":
        torch.cuda.empty_cache()  # what another client left
        torch.cuda.reset_peak_memory_stats()
    adapter.set_adapter_state(model, _complete_state(worker, request.state))
    factor = select_trainable_factor(federation.aggregation, request.round)
    adapter.set_trainable_factor(model, factor)
    start = adapter.select_factor(adapter.get_adapter_state(model), factor)
    mine, shift = None, None
    if request.server_control is not None:
        mine = strip_prefix("control", client_state) or {
            n: torch.zeros_like(v) for n, v in start.items()
        }
        shift = {name: request.server_control[name] - mine[name] for name in mine}

    steps = schedule.count_local_steps(spec.training, rows)
    rate = schedule.compute_learning_rate(spec.training, request.round, federation.rounds)
    count = steps * schedule.effective_batch_size(spec.training)
    rounds = schedule.rounds_participated(
        spec.seed, client, request.round, len(spec.clients), federation.fraction_train
    )
    chosen = schedule.select_examples(spec.seed, client, rows, rounds * count, count)
    with tempfile.TemporaryDirectory() as scratch:
        config = build_sft_config(
            spec.training.arguments,
            learning_rate=rate,
            max_steps=steps,
            seed=derive_seed(spec.seed, "training", client, request.round)
            >> 1,  # numpy: below 2**32
            use_cpu=model.device.type == "cpu",
            output_dir=Path(scratch),
        )
        trained = train_adapter(
            model,
            worker.tokenizer,
            load_client_rows(run.paths.preprocessed, client).select(chosen),
            config,
            LocalObjective(
                proximal_mu=getattr(federation.strategy, "mu", 0.0),
                scaffold_correction=shift,
                optimizer_state=strip_prefix(f"optimizer/{factor}", client_state) or None,
                return_optimizer_state=spec.training.optimizer_state == "kept",
            ),
        )
    state = adapter.select_factor(adapter.get_adapter_state(model), factor)
    control = None
    if mine is not None:
        new = scaffold.update_client_control(
            mine, request.server_control, start, state, rate, trained.counts["steps"]
        )
        control = {name: new[name] - mine[name] for name in new}
        mine = new
    client_state = client_state | add_prefix(f"optimizer/{factor}", trained.optimizer_state)
    client_state |= add_prefix("control", mine or {}) | add_prefix(
        "fold", flatten_base_deltas(folded)
    )
    return TrainReply(
        initial_state=start,
        state=state,
        control_delta=control,
        metrics={
            **{f"num-{what}": float(n) for what, n in trained.counts.items()},
            "train-loss": trained.loss,
            "batch-size": float(trained.batch_size),
            "seconds": time.perf_counter() - started,
            "gpu-memory": float(
                torch.cuda.max_memory_reserved() if run.resources.device == "cuda" else 0
            ),
        },
        client_state=client_state,
    )


def evaluate_round(
    run: FederatedRun, client: int, request: TrainRequest, client_state: StateDict
) -> dict[str, float]:
    """Scores the global adapter on the rows that a client holds out for validation."""
    worker = get_worker(run)
    model = worker.prepare_model(
        run.spec.clients[client].rank,
        unflatten_base_deltas(strip_prefix("fold", client_state)) | request.base_deltas,
    )
    adapter.set_adapter_state(model, _complete_state(worker, request.state))
    rows = load_client_rows(run.paths.preprocessed, client, ".validation")
    return {
        "loss": compute_eval_loss(model, rows.to_list(), get_pad_token_id(worker.tokenizer)),
        "rows": float(len(rows)),
    }


def _complete_state(worker: Worker, state: StateDict) -> StateDict:
    """The adapter with what the server left out, because it never changes."""
    return (worker.initial_state if len(state) < len(worker.initial_state) else {}) | state
