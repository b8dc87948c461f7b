"""Find settings of an experiment that do not work together.

A conflict is the key to change, and a message with the reason and an alternative.
"""

from collections.abc import Iterator

from blossomtune.config.experiments import ExperimentSettings
from blossomtune.config.lora import ColumnRanks, LoraSettings
from blossomtune.config.strategies import ROBUST_STRATEGIES, SERVER_OPTIMIZERS, compute_min_clients

FACTORWISE_AGGREGATIONS = {"fedavg", "ffa", "rolora"}
"""Aggregations that average each LoRA factor element by element."""

BASE_UPDATING_AGGREGATIONS = {"flora", "fedex"}
"""Aggregations that add a part of the update to the base model's weights."""

HETEROGENEOUS_RANK_AGGREGATIONS = {"flexlora", "flora", "hetlora"}
"""Aggregations that accept adapters of different ranks."""

DORA_CONFLICTS = {
    **dict.fromkeys(("flexlora", "flora", "fedex"), "a sum of products is not their average"),
    **dict.fromkeys(("ffa", "rolora"), "sharing a factor does not make the average exact"),
    "hetlora": "the norm of B A, which hetlora weighs clients by, is not that of an update",
}
"""Aggregations that conflict with DoRA, and why."""

REINITIALIZING_AGGREGATIONS = {
    "flexlora": "its factors come out of a decomposition anew in each round, in an order and with "
    "signs of their own",
    "flora": "its adapters start anew in each round",
}
"""Aggregations that replace the factors, so that state per element has no meaning; and why."""

Conflict = tuple[str, str]


def has_heterogeneous_ranks(lora: LoraSettings) -> bool:
    """Return whether a client may have another rank than the server."""
    ranks = lora.ranks.ranks.values() if isinstance(lora.ranks, ColumnRanks) else lora.ranks or []
    return any(rank != lora.r for rank in ranks)


def find_conflicts(
    experiment: ExperimentSettings, num_clients: int, has_validation_rows: bool
) -> Iterator[Conflict]:
    """Yield all conflicts of an experiment's settings.

    Args:
        experiment: The experiment; each of its blocks is valid.
        num_clients: Number of clients of its partition.
        has_validation_rows: Whether clients hold rows out for validation.

    Yields:
        Key below the experiment, and a message with the reason and an alternative.
    """
    yield from _find_adapter_conflicts(experiment, num_clients)
    yield from _find_strategy_conflicts(experiment, num_clients)
    yield from _find_training_conflicts(experiment)
    yield from _find_communication_conflicts(experiment)
    yield from _find_privacy_conflicts(experiment)
    if experiment.federation.fraction_evaluate and not has_validation_rows:
        yield (
            "federation.fraction_evaluate",
            "clients score the adapter on rows that they hold out, and this partition has "
            "validation_size: 0; use fraction_evaluate: 0, or give it one",
        )


def _find_adapter_conflicts(experiment: ExperimentSettings, num_clients: int) -> Iterator[Conflict]:
    lora, federation = experiment.lora, experiment.federation
    strategy, aggregation = federation.strategy.name, federation.aggregation
    is_heterogeneous = has_heterogeneous_ranks(lora)
    if lora.dora and aggregation != "fedavg":
        yield (
            "lora.dora",
            f"DoRA divides base plus product B A by its norm, so {DORA_CONFLICTS[aggregation]}; "
            f"use {'' if is_heterogeneous else 'aggregation fedavg, or '}dora: false",
        )
    if lora.dora and experiment.export and experiment.export.adapter_gguf:
        yield (
            "export.adapter_gguf",
            "GGUF adapters have no place for DoRA's magnitudes; use gguf, or dora: false",
        )
    if is_heterogeneous and aggregation not in HETEROGENEOUS_RANK_AGGREGATIONS:
        reason = "factors of different ranks have no average"
        if aggregation == "fedex":
            reason = "its residual is exact for one scale only"
        if lora.dora or federation.privacy or strategy in {*ROBUST_STRATEGIES, "scaffold"}:
            alternative = ""
        elif strategy in SERVER_OPTIMIZERS:
            alternative = ", or aggregation hetlora"
        else:
            alternative = ", or aggregation flexlora, flora or hetlora"
        yield (
            "lora.ranks",
            f"aggregation {aggregation} needs one rank, since {reason}; use one rank{alternative}",
        )
    if isinstance(lora.ranks, list) and len(lora.ranks) != num_clients:
        yield "lora.ranks", f"{len(lora.ranks)} ranks for {num_clients} clients; give one each"


def _find_strategy_conflicts(
    experiment: ExperimentSettings, num_clients: int
) -> Iterator[Conflict]:
    federation, key = experiment.federation, "federation.strategy"
    name, aggregation = federation.strategy.name, federation.aggregation
    is_heterogeneous = has_heterogeneous_ranks(experiment.lora)
    one_rank = ", and one rank" if is_heterogeneous else ""
    if name in SERVER_OPTIMIZERS and aggregation in REINITIALIZING_AGGREGATIONS:
        yield (
            key,
            f"{name} carries its moments from round to round, which has no meaning with "
            f"{aggregation}: {REINITIALIZING_AGGREGATIONS[aggregation]}; use aggregation "
            f"{'hetlora' if is_heterogeneous else 'fedavg, ffa, rolora or hetlora'}",
        )
    if name in SERVER_OPTIMIZERS and aggregation == "fedex":
        yield (
            key,
            f"{name} moves away from the plain average that fedex's residual belongs to; "
            "use strategy fedavg or fedprox",
        )
    if name in ROBUST_STRATEGIES and aggregation not in FACTORWISE_AGGREGATIONS:
        yield (
            key,
            f"{name} chooses among the clients' numbers, and {aggregation} needs the products of "
            f"all of them; use aggregation fedavg, ffa or rolora{one_rank}",
        )
    if name == "scaffold" and aggregation not in ("fedavg", "ffa"):
        yield (
            key,
            f"scaffold corrects every number by its own history, and with {aggregation} "
            f"{_explain_scaffold_conflict(aggregation)}; use aggregation fedavg or ffa{one_rank}",
        )
    sampled = federation.count_sampled_clients(num_clients)
    if (needed := compute_min_clients(federation.strategy)) > sampled:
        yield (
            key,
            f"{name} with these parameters needs at least {needed} clients in a round; "
            f"fraction_train {federation.fraction_train} of {num_clients} clients is {sampled}; "
            "use more clients, or other parameters",
        )


def _explain_scaffold_conflict(aggregation: str) -> str:
    return {
        **REINITIALIZING_AGGREGATIONS,
        "rolora": "a factor is trained in every other round only",
        "fedex": "the base changes below it",
        "hetlora": "clients hold different parts of the adapter",
    }[aggregation]


def _find_training_conflicts(experiment: ExperimentSettings) -> Iterator[Conflict]:
    training, federation = experiment.training, experiment.federation
    if training.optimizer_state == "kept" and federation.aggregation in REINITIALIZING_AGGREGATIONS:
        yield (
            "training.optimizer_state",
            f"kept has no meaning with {federation.aggregation}: "
            f"{REINITIALIZING_AGGREGATIONS[federation.aggregation]}; use fresh",
        )
    if training.quantization == "8bit" and experiment.lora.dora and not federation.gpus_per_client:
        yield (
            "training.quantization",
            "DoRA reads the weights on the way, and on a CPU 8-bit ones lose their scales by that; "
            "use 4bit, or a GPU",
        )
    adopt = training.arguments.get("optim") == "adopt"
    if adopt and training.optimizer_state == "fresh" and training.arguments.get("max_steps") == 1:
        yield (
            "training.arguments.max_steps",
            "the first step of adopt only measures, and with a fresh optimizer in each round there "
            "is no second; use more steps, or optimizer_state: kept",
        )
    if adopt and "optim_args" in training.arguments:
        yield (
            "training.arguments.optim_args",
            "adopt reads none; use adam_beta1, adam_beta2, adam_epsilon and weight_decay",
        )
    if training.quantization != "none" and federation.aggregation in BASE_UPDATING_AGGREGATIONS:
        yield (
            "training.quantization",
            f"{federation.aggregation} adds to the base's weights in every round, and quantised "
            "ones would round that away; use none, or aggregation flexlora",
        )
    if training.base_dtype == "float16" and not training.arguments.get("fp16"):
        yield (
            "training.base_dtype",
            "small gradients become zero in float16 unless the loss is scaled; use bfloat16, or "
            "add fp16: true to training.arguments",
        )
    for name in ("fp16", "tf32"):
        if training.arguments.get(name) and not federation.gpus_per_client:
            yield (
                f"training.arguments.{name}",
                "needs a GPU; set federation.gpus_per_client, or leave it out",
            )


def _find_communication_conflicts(experiment: ExperimentSettings) -> Iterator[Conflict]:
    federation = experiment.federation
    if (
        federation.communication.precision == "int8"
        and federation.aggregation in REINITIALIZING_AGGREGATIONS
    ):
        yield (
            "federation.communication.precision",
            "int8 sends in a later round what it rounded off, which has no meaning with "
            f"{federation.aggregation}: {REINITIALIZING_AGGREGATIONS[federation.aggregation]}; "
            "use bfloat16",
        )


def _find_privacy_conflicts(experiment: ExperimentSettings) -> Iterator[Conflict]:
    federation, key = experiment.federation, "federation.privacy"
    if federation.privacy is None:
        return
    if federation.strategy.name not in ("fedavg", "fedprox"):
        yield (
            key,
            "the noise is measured for an average of clipped updates, which "
            f"{federation.strategy.name} does not give; use strategy fedavg or fedprox",
        )
    if federation.aggregation not in FACTORWISE_AGGREGATIONS:
        yield (
            key,
            "the noise is measured for an average of clipped updates, and what one client can "
            f"change in the result of {federation.aggregation} has no such bound; "
            "use aggregation ffa"
            + (", and one rank" if has_heterogeneous_ranks(experiment.lora) else ""),
        )
    if federation.privacy.side == "client" and federation.aggregation == "rolora":
        yield (
            f"{key}.side",
            "a client clips what it got against what it sends, and with rolora it sends one "
            "factor of two; use side: server",
        )
    if federation.privacy.side == "client" and federation.communication.precision != "float32":
        yield (
            f"{key}.side",
            f"{federation.communication.precision} rounds after the client has clipped, which may "
            "go beyond the norm; use side: server, or precision float32",
        )
    if federation.selects_model and federation.fraction_evaluate:
        yield (
            "federation.fraction_evaluate",
            "the clients' losses would decide which adapter comes out, without noise; "
            "use fraction_evaluate: 0, so that the server's held-out rows decide",
        )
