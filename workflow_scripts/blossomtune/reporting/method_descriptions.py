"""What the server makes of the clients' answers, in words."""

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
    """What happens in a round, in a few sentences."""
    strategy, aggregation = e.history.strategy, e.history.aggregation
    does = _AGGREGATIONS.get(aggregation, _STRATEGIES.get(strategy, f"goes by {strategy}"))
    if e.history.privacy:
        does = "averages their changes, each cut to a norm, and adds noise"
    counted = {"trained": "it trained on", "held": "that it holds"}
    how = counted[e.config["federation"]["client_weights"]]
    does = does.format(r=e.config["lora"]["r"], counted=how)
    told = (
        "In each round the server sends the adapter to the clients, each client that takes part "
        f"trains it on its own rows, and the server {does}."
    )
    return " ".join([told, *_list_extra_steps(strategy, aggregation)])


def _list_extra_steps(strategy: str, aggregation: str) -> list[str]:
    return [t[n] for t, n in ((_SHARED_FACTOR, aggregation), (_CLIENT_TERMS, strategy)) if n in t]


def format_strategy(strategy: Mapping[str, Any]) -> str:
    """A strategy with its parameters: "fedprox (mu 0.1)"."""
    more = [
        f"{k.replace('_', ' ')} {formatting.format_setting(v)}"
        for k, v in strategy.items()
        if k != "name"
    ]
    return strategy["name"] + (f" ({', '.join(more)})" if more else "")


def describe_adapter(e: ExperimentResults) -> str:
    """Kind, rank and scale of the adapter: "rank-stabilised LoRA of rank 8, alpha 16"."""
    lora = e.config["lora"]
    kind = ("rank-stabilised " if lora["rslora"] else "") + ("DoRA" if lora["dora"] else "LoRA")
    return f"{kind} of rank {lora['r']}{_format_client_ranks(e)}, alpha {formatting.format_setting(lora['alpha'])}"


def _format_client_ranks(e: ExperimentResults) -> str:
    ranks = e.history.ranks
    if all(rank == e.config["lora"]["r"] for rank in ranks):
        return ""
    return f" on the server and {formatting.format_range(min(ranks), max(ranks))} on clients"


def describe_training(e: ExperimentResults) -> str:
    """How clients train besides the defaults; nothing where they go by these."""
    block = e.config["training"]
    told = []
    if block["optimizer_state"] == "kept":
        told.append("each client keeps its optimizer’s state from round to round")
    if block["quantization"] != "none":
        told.append(f"the base is held in {block['quantization'].replace('bit', ' bits')}")
    return "; ".join(told)
