"""Which strategies, aggregations and adapters go together, and why the others do not.

Every rule looks at one experiment and says what is unsound about it: the key to blame, and a
sentence with the reason and what to use instead.
"""

from collections.abc import Iterable, Iterator

from blossomtune.config.experiments import ExperimentSettings
from blossomtune.config.lora import ColumnRanks, LoraSettings
from blossomtune.config.strategies import ROBUST_STRATEGIES, SERVER_OPTIMIZERS, compute_min_clients

FACTORWISE_AGGREGATIONS = {"fedavg", "ffa", "rolora"}
"""Aggregations that average each factor by itself, number by number."""

BASE_UPDATING_AGGREGATIONS = {"flora", "fedex"}
"""Aggregations that put a part of the update into the base's weights."""

HETEROGENEOUS_RANK_AGGREGATIONS = {"flexlora", "flora", "hetlora"}
"""Aggregations that make one adapter of several ranks."""

DORA_CONFLICTS = {
    **dict.fromkeys(("flexlora", "flora", "fedex"), "a sum of products is not their average"),
    **dict.fromkeys(("ffa", "rolora"), "sharing a factor does not make the average exact"),
    "hetlora": "the norm of B A, which hetlora weighs clients by, is not that of an update",
}
"""Why these aggregations do not go with DoRA."""

REINITIALIZING_AGGREGATIONS = {
    "flexlora": "its factors come out of a decomposition anew in each round, in an order and with "
    "signs of their own",
    "flora": "its adapters start anew in each round",
}
"""Aggregations after which a number of the adapter is not the same number as before."""

Conflict = tuple[str, str]


def has_heterogeneous_ranks(lora: LoraSettings) -> bool:
    """Whether clients may have other ranks than the server."""
    found = lora.ranks.ranks.values() if isinstance(lora.ranks, ColumnRanks) else lora.ranks or []
    return any(rank != lora.r for rank in found)


def find_conflicts(
    experiment: ExperimentSettings, num_clients: int, has_validation_rows: bool
) -> Iterator[Conflict]:
    """What cannot work in an experiment whose parts are fine alone.

    Args:
        e: the experiment.
        clients: how many its partition has.
        validation: whether these hold rows out for validation.

    Yields:
        The key below the experiment, and a sentence.
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


def _find_adapter_conflicts(experiment: ExperimentSettings, num_clients: int) -> Iterable[Conflict]:
    name, aggregation = experiment.federation.strategy.name, experiment.federation.aggregation
    if experiment.lora.dora and aggregation != "fedavg":
        yield (
            "lora.dora",
            f"DoRA divides base plus product B A by its norm, so {DORA_CONFLICTS[aggregation]}; "
            f"use {'' if has_heterogeneous_ranks(experiment.lora) else 'aggregation fedavg, or '}dora: false",
        )
    if (
        has_heterogeneous_ranks(experiment.lora)
        and aggregation not in HETEROGENEOUS_RANK_AGGREGATIONS
    ):
        why = (
            "its residual is exact for one scale only"
            if aggregation == "fedex"
            else "factors of different ranks have no average"
        )
        instead = "flexlora, flora or hetlora"
        if name in SERVER_OPTIMIZERS:
            instead = "hetlora"
        if (
            experiment.lora.dora
            or experiment.federation.privacy
            or name in ROBUST_STRATEGIES
            or name == "scaffold"
        ):
            instead = ""
        yield (
            "lora.ranks",
            f"aggregation {aggregation} wants one rank, since {why}; "
            f"use one rank{instead and f', or aggregation {instead}'}",
        )
    if isinstance(experiment.lora.ranks, list) and len(experiment.lora.ranks) != num_clients:
        yield (
            "lora.ranks",
            f"{len(experiment.lora.ranks)} ranks for {num_clients} clients; give one each",
        )


def _find_strategy_conflicts(
    experiment: ExperimentSettings, num_clients: int
) -> Iterable[Conflict]:
    name, aggregation = experiment.federation.strategy.name, experiment.federation.aggregation
    key = "federation.strategy"
    one_rank = ", and one rank" if has_heterogeneous_ranks(experiment.lora) else ""
    if name in SERVER_OPTIMIZERS and aggregation in REINITIALIZING_AGGREGATIONS:
        yield (
            key,
            f"{name} carries its moments from round to round, which has no meaning with "
            f"{aggregation}: {REINITIALIZING_AGGREGATIONS[aggregation]}; "
            f"use aggregation {'hetlora' if has_heterogeneous_ranks(experiment.lora) else 'fedavg, ffa, rolora or hetlora'}",
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
            "scaffold corrects every number by its own history, and with "
            f"{aggregation} {_explain_scaffold_conflict(aggregation)}; use aggregation fedavg or ffa{one_rank}",
        )
    sampled = experiment.federation.count_sampled_clients(num_clients)
    if (needed := compute_min_clients(experiment.federation.strategy)) > sampled:
        yield (
            key,
            f"{name} with these parameters wants at least {needed} clients in a round; "
            f"fraction_train {experiment.federation.fraction_train} of {num_clients} clients is {sampled}; "
            "use more clients, or other parameters",
        )


def _explain_scaffold_conflict(aggregation: str) -> str:
    return {
        **REINITIALIZING_AGGREGATIONS,
        "rolora": "a factor is trained in every other round only",
        "fedex": "the base changes below it",
        "hetlora": "clients hold different parts of the adapter",
    }[aggregation]


def _find_training_conflicts(experiment: ExperimentSettings) -> Iterable[Conflict]:
    t, f = experiment.training, experiment.federation
    if t.optimizer_state == "kept" and f.aggregation in REINITIALIZING_AGGREGATIONS:
        yield (
            "training.optimizer_state",
            f"kept has no meaning with {f.aggregation}: {REINITIALIZING_AGGREGATIONS[f.aggregation]}; use fresh",
        )
    if t.quantization == "8bit" and experiment.lora.dora and not f.gpus_per_client:
        yield (
            "training.quantization",
            "DoRA reads the weights on the way, and on a CPU 8-bit ones lose their scales by that; "
            "use 4bit, or a GPU",
        )
    adopt = t.arguments.get("optim") == "adopt"
    if adopt and t.optimizer_state == "fresh" and t.arguments.get("max_steps") == 1:
        yield (
            "training.arguments.max_steps",
            "the first step of adopt only measures, and with a fresh optimizer in each round there "
            "is no second; use more steps, or optimizer_state: kept",
        )
    if adopt and "optim_args" in t.arguments:
        yield (
            "training.arguments.optim_args",
            "adopt reads none; use adam_beta1, adam_beta2, adam_epsilon and weight_decay",
        )
    if t.quantization != "none" and f.aggregation in BASE_UPDATING_AGGREGATIONS:
        yield (
            "training.quantization",
            f"{f.aggregation} adds to the base's weights in every round, and quantised ones "
            "would round that away; use none, or aggregation flexlora",
        )
    for name in ("fp16", "tf32"):
        if t.arguments.get(name) and not f.gpus_per_client:
            yield (
                f"training.arguments.{name}",
                "needs a GPU; set federation.gpus_per_client, or leave it out",
            )


def _find_communication_conflicts(experiment: ExperimentSettings) -> Iterable[Conflict]:
    f = experiment.federation
    if f.communication.precision == "int8" and f.aggregation in REINITIALIZING_AGGREGATIONS:
        yield (
            "federation.communication.precision",
            "int8 sends in a later round what it rounded off, which has no meaning with "
            f"{f.aggregation}: {REINITIALIZING_AGGREGATIONS[f.aggregation]}; use bfloat16",
        )


def _find_privacy_conflicts(experiment: ExperimentSettings) -> Iterable[Conflict]:
    f, key = experiment.federation, "federation.privacy"
    if f.privacy is None:
        return
    if f.strategy.name not in ("fedavg", "fedprox"):
        yield (
            key,
            f"the noise is measured for an average of clipped updates, which {f.strategy.name} "
            "does not give; use strategy fedavg or fedprox",
        )
    if f.aggregation not in FACTORWISE_AGGREGATIONS:
        yield (
            key,
            "the noise is measured for an average of clipped updates, and what one client can "
            f"change in the result of {f.aggregation} has no such bound; use aggregation ffa"
            + (", and one rank" if has_heterogeneous_ranks(experiment.lora) else ""),
        )
    if f.privacy.side == "client" and f.aggregation == "rolora":
        yield (
            f"{key}.side",
            "a client clips what it got against what it sends, and with rolora it sends one "
            "factor of two; use side: server",
        )
    if f.privacy.side == "client" and f.communication.precision != "float32":
        yield (
            f"{key}.side",
            f"{f.communication.precision} rounds after the client has clipped, which may go "
            "beyond the norm; use side: server, or precision float32",
        )
    if f.selects_model and f.fraction_evaluate:
        yield (
            "federation.fraction_evaluate",
            "the clients' losses would decide which adapter comes out, without noise; "
            "use fraction_evaluate: 0, so that the server's held-out rows decide",
        )
