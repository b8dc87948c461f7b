"""How the models serve each client: a figure, and what it says."""

from dataclasses import dataclass

from blossomtune.artifacts.metrics import Fairness, GroupMetrics
from blossomtune.reporting import formatting
from blossomtune.reporting.charts import Figure
from blossomtune.reporting.dot_plot import draw_dot_plot
from blossomtune.reporting.load import ExperimentResults
from blossomtune.reporting.outcome import MODEL_LABELS, build_row, list_series, select_metric

_MAX_CLIENTS = 24  # the clients that fare worst; the table has all of them


@dataclass(frozen=True)
class ClientResults:
    """Every client's numbers, for models that have such."""

    experiment: ExperimentResults
    models: dict[str, dict[str, GroupMetrics]]
    fairness: dict[str, Fairness]

    @property
    def uses_accuracy(self) -> bool:
        """Whether the measure is accuracy, else the loss."""
        return self.fairness["federated"].measure == "accuracy"

    @property
    def clients(self) -> list[str]:
        """Names, from the client that the federated model serves worst."""
        found = self.models["federated"]
        values = {n: select_metric(g, uses_accuracy=self.uses_accuracy) for n, g in found.items()}
        known = {n: i.value for n, i in values.items() if i}
        return sorted(known, key=lambda n: known[n] if self.uses_accuracy else -known[n])


def collect_client_results(e: ExperimentResults) -> ClientResults | None:
    """What is known of each client; None where clients were not measured."""
    models = {n: m.clients for n, m in e.metrics.items() if m.clients and m.fairness}
    if "federated" not in models:
        return None
    return ClientResults(e, models, {n: e.metrics[n].fairness for n in models})


def draw_client_results(results: ClientResults, width: float) -> Figure:
    """Return a row per client with a dot for each model.

    Args:
        results: metrics of the clients.
        width: width of the figure in pixels.
    """
    uses_accuracy = results.uses_accuracy
    order = sorted(results.models, key="federated".__eq__)  # that one on top
    rows = []
    for client in results.clients[:_MAX_CLIENTS]:
        groups = {n: results.models[n][client] for n in order if client in results.models[n]}
        rows.append(build_row(client, groups, uses_accuracy=uses_accuracy, has_note=False))
    metric = "Accuracy" if uses_accuracy else "Loss"
    return draw_dot_plot(
        [row for row in rows if row.dots],
        list_series(results.models),
        f"{metric} by client. {' '.join(describe_client_results(results))}",
        width,
        is_share=uses_accuracy,
        shares_line=True,
    )


def describe_client_results(results: ClientResults) -> list[str]:
    """Who fares worst, how far apart clients are, and for how many it was worth it."""
    federated = results.fairness["federated"]
    spell = formatting.format_percent if results.uses_accuracy else formatting.format_number
    what = "accuracy" if results.uses_accuracy else "loss"
    worst, best = federated.worst, federated.best
    sentences = [
        f"The federated model serves {worst.client} worst ({what} {spell(worst.value)}) and "
        f"{best.client} best ({spell(best.value)})."
    ]
    spreads = [
        f"{MODEL_LABELS[n]} {_format_spread(f.spread, f.measure)}"
        for n, f in results.fairness.items()
    ]
    sentences.append(
        f"How far clients lie apart (standard deviation over them): {formatting.join_list(spreads)}."
    )
    if "local" in results.models:
        sentences.append(_compare_with_local(results, what))
    return sentences


def _format_spread(spread: float, metric_name: str) -> str:
    if metric_name == "accuracy":
        return formatting.format_points(spread).removeprefix("+")
    return formatting.format_number(spread)


def _compare_with_local(results: ClientResults, metric_name: str) -> str:
    better, both = 0, 0
    for client, group in results.models["federated"].items():
        alone = results.models["local"].get(client)
        one = select_metric(group, uses_accuracy=results.uses_accuracy)
        other = select_metric(alone, uses_accuracy=results.uses_accuracy) if alone else None
        if one and other:
            both += 1
            ahead = one.value > other.value if results.uses_accuracy else one.value < other.value
            better += ahead
    many = formatting.capitalize_first(
        "all" if better == both else formatting.spell_number(better) + f" of {both}"
    )
    verb = "has" if better == 1 else "have"
    which = "a higher accuracy" if metric_name == "accuracy" else "a lower loss"
    return (
        f"{many} clients {verb} {which} with the federated model than with the one that the "
        "client trained alone."
    )
