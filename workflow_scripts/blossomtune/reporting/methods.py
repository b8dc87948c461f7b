"""What the server makes of the clients' answers, in words."""

from collections.abc import Mapping
from typing import Any

from blossomtune.reporting import words
from blossomtune.reporting.inputs import Experiment

_AVERAGE = "averages the adapters’ factors, each client counting by the examples {counted}"
_STEP = "averages the factors and takes a step towards the average, by {}"
_STRATEGIES = {
    "fedavg": _AVERAGE,
    "fedprox": _AVERAGE,
    "scaffold": _AVERAGE,
    "fedavgm": _STEP.format("momentum"),
    "fedadagrad": _STEP.format("Adagrad"),
    "fedadam": _STEP.format("Adam"),
    "fedyogi": _STEP.format("Yogi"),
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
_SHARED = {
    "ffa": "Factor A stays as it began, and only B is trained and travels.",
    "rolora": "Factor B is trained in odd rounds and A in even ones; the other stays.",
}
_CLIENTS = {
    "fedprox": "Clients are held near the adapter that they got.",
    "scaffold": "Clients correct their steps by the direction of all.",
}


def round_told(e: Experiment) -> str:
    """What happens in a round, in a few sentences."""
    strategy, aggregation = e.history.strategy, e.history.aggregation
    does = _AGGREGATIONS.get(aggregation, _STRATEGIES.get(strategy, f"goes by {strategy}"))
    if e.history.privacy:
        does = "averages their changes, each cut to a norm, and adds noise"
    counted = {"trained": "it trained on", "held": "that it holds"}
    how = counted[e.block["federation"]["client_weights"]]
    does = does.format(r=e.block["lora"]["r"], counted=how)
    told = (
        "In each round the server sends the adapter to the clients, each client that takes part "
        f"trains it on its own rows, and the server {does}."
    )
    return " ".join([told, *_also(strategy, aggregation)])


def _also(strategy: str, aggregation: str) -> list[str]:
    return [t[n] for t, n in ((_SHARED, aggregation), (_CLIENTS, strategy)) if n in t]


def called(block: Mapping[str, Any]) -> str:
    """A strategy with its parameters: "fedprox (mu 0.1)"."""
    more = [f"{k.replace('_', ' ')} {words.plain(v)}" for k, v in block.items() if k != "name"]
    return block["name"] + (f" ({', '.join(more)})" if more else "")


def adapter(e: Experiment) -> str:
    """Kind, rank and scale of the adapter: "rank-stabilised LoRA of rank 8, alpha 16"."""
    lora = e.block["lora"]
    kind = ("rank-stabilised " if lora["rslora"] else "") + ("DoRA" if lora["dora"] else "LoRA")
    return f"{kind} of rank {lora['r']}{_of_clients(e)}, alpha {words.plain(lora['alpha'])}"


def _of_clients(e: Experiment) -> str:
    ranks = e.history.ranks
    if all(rank == e.block["lora"]["r"] for rank in ranks):
        return ""
    return f" on the server and {words.between(min(ranks), max(ranks))} on clients"


def training(e: Experiment) -> str:
    """How clients train besides the defaults; nothing where they go by these."""
    block = e.block["training"]
    told = []
    if block["optimizer_state"] == "kept":
        told.append("each client keeps its optimizer’s state from round to round")
    if block["quantization"] != "none":
        told.append(f"the base is held in {block['quantization'].replace('bit', ' bits')}")
    return "; ".join(told)
