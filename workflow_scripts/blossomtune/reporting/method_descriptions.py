"""Describe strategy, aggregation, adapter and training."""

from collections.abc import Mapping
from typing import Any

from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults

_AVERAGE = "averages the adapters’ factors, each client counting by the examples {counted}"
_SERVER_STEP = "averages the factors and takes a step towards the average, by {}"
_STRATEGIES = {
    "fedavg": _AVERAGE,
    "fedprox": _AVERAGE,
    "scaffold": _AVERAGE,
    "fedavgm": _SERVER_STEP.format("momentum"),
    "fedadagrad": _SERVER_STEP.format("Adagrad"),
    "fedadam": _SERVER_STEP.format("Adam"),
    "fedyogi": _SERVER_STEP.format("Yogi"),
    "fedmedian": "takes the median of every number",
    "fedtrimmedavg": "averages every number without its extremes",
    "krum": "takes the adapter of the client nearest to its neighbours",
    "multikrum": "averages the adapters of the clients nearest to their neighbours",
    "bulyan": "chooses the clients nearest to their neighbours, then averages of every number "
    "those nearest the median",
}
_AGGREGATIONS = {
    "flexlora": "averages the products of the factors, and makes of that the best adapter of rank "
    "{r}",
    "flora": "adds the average of the clients’ products to the base model, and all begin anew with "
    "a fresh adapter",
    "fedex": "averages the factors, and adds to the base model what that lacks of the average of "
    "the products",
    "hetlora": "averages the factors, filled up with zeros to one rank, each client counting by "
    "the size of its update",
}
_SHARED_FACTOR = {
    "ffa": "Factor A stays as it began, and only B is trained and travels.",
    "rolora": "Factor B is trained in odd rounds and A in even ones; the other stays.",
}
_CLIENT_TERMS = {
    "fedprox": "Clients are held near the adapter that they got.",
    "scaffold": "Clients correct their steps by the direction of all.",
}


def describe_round(e: ExperimentResults) -> str:
    """Return sentences on the steps of a round."""
    strategy, aggregation = e.history.strategy, e.history.aggregation
    does = _AGGREGATIONS.get(aggregation, _STRATEGIES.get(strategy, f"goes by {strategy}"))
    if e.history.privacy:
        does = "averages their changes, each cut to a norm, and adds noise"
    counted = {"trained": "it trained on", "held": "that it holds"}
    how = counted[e.config["federation"]["client_weights"]]
    does = does.format(r=e.config["lora"]["r"], counted=how)
    sentence = (
        "In each round the server sends the adapter to the clients, each client that takes part "
        f"trains it on its own rows, and the server {does}."
    )
    return " ".join([sentence, *_list_extra_steps(strategy, aggregation)])


def _list_extra_steps(strategy: str, aggregation: str) -> list[str]:
    return [t[n] for t, n in ((_SHARED_FACTOR, aggregation), (_CLIENT_TERMS, strategy)) if n in t]


def format_strategy(strategy: Mapping[str, Any]) -> str:
    """Return a strategy with its parameters: "fedprox (mu 0.1)"."""
    more = [
        f"{k.replace('_', ' ')} {formatting.format_setting(v)}"
        for k, v in strategy.items()
        if k != "name"
    ]
    return f"{strategy['name']} ({', '.join(more)})" if more else str(strategy["name"])


def describe_adapter(e: ExperimentResults) -> str:
    """Return the kind of the adapter: "rank-stabilised LoRA of rank 8, alpha 16"."""
    lora = e.config["lora"]
    kind = ("rank-stabilised " if lora["rslora"] else "") + ("DoRA" if lora["dora"] else "LoRA")
    alpha = formatting.format_setting(lora["alpha"])
    return f"{kind} of rank {lora['r']}{_format_client_ranks(e)}, alpha {alpha}"


def _format_client_ranks(e: ExperimentResults) -> str:
    ranks = e.history.ranks
    if all(rank == e.config["lora"]["r"] for rank in ranks):
        return ""
    return f" on the server and {formatting.format_range(min(ranks), max(ranks))} on clients"


def describe_training(e: ExperimentResults) -> str:
    """Return the training settings that differ from the defaults; empty if none does."""
    block = e.config["training"]
    settings = []
    if block["optimizer_state"] == "kept":
        settings.append("each client keeps its optimizer’s state from round to round")
    if block["quantization"] != "none":
        settings.append(f"the base is held in {block['quantization'].replace('bit', ' bits')}")
    return "; ".join(settings)
