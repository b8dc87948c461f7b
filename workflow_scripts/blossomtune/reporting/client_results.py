"""Plot and describe the metrics of each client."""

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
    """Metrics by client.

    Attributes:
        models: metrics by name of the model and name of the client.
        fairness: differences between clients by name of the model.
    """

    models: dict[str, dict[str, GroupMetrics]]
    fairness: dict[str, Fairness]

    @property
    def uses_accuracy(self) -> bool:
        """True if clients are compared by accuracy, else by loss."""
        return self.fairness["federated"].measure == "accuracy"

    @property
    def clients(self) -> list[str]:
        """Names, from the worst to the best value of the federated model."""
        values = {name: self._get_value(group) for name, group in self.models["federated"].items()}
        known = {name: value for name, value in values.items() if value is not None}
        return sorted(known, key=lambda n: known[n] if self.uses_accuracy else -known[n])

    def count_better(self, reference: str) -> tuple[int, int]:
        """Return how many clients the federated model serves better, and of how many.

        Args:
            reference: name of the other model.

        Returns:
            Number of clients with higher accuracy, or lower loss, under the federated model; number
            of clients for which both models have a value.
        """
        others = self.models[reference]
        pairs = [
            (self._get_value(group), self._get_value(others[client]))
            for client, group in self.models["federated"].items()
            if client in others
        ]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        return sum(a > b if self.uses_accuracy else a < b for a, b in known), len(known)

    def _get_value(self, group: GroupMetrics) -> float | None:
        interval = select_metric(group, uses_accuracy=self.uses_accuracy)
        return interval.value if interval else None


def collect_client_results(e: ExperimentResults) -> ClientResults | None:
    """Return the metrics by client; None if clients were not evaluated."""
    models = {n: m.clients for n, m in e.metrics.items() if m.clients and m.fairness}
    fairness = {n: m.fairness for n, m in e.metrics.items() if m.clients and m.fairness}
    return ClientResults(models, fairness) if "federated" in models else None


def draw_client_results(results: ClientResults, width: float) -> Figure:
    """Return a row per client with a dot for each model.

    Args:
        results: metrics of the clients.
        width: width of the figure in pixels.

    Returns:
        Dot plot of accuracy in percent, or of loss in nats per token, worst clients first. Only the
        24 worst are shown.
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
    """Return sentences on the worst client, the spread, and the comparison with local models."""
    federated = results.fairness["federated"]
    spell = formatting.format_percent if results.uses_accuracy else formatting.format_number
    worst, best = federated.worst, federated.best
    spreads = [
        f"{MODEL_LABELS[name]} {_format_spread(fairness)}"
        for name, fairness in results.fairness.items()
    ]
    sentences = [
        f"The federated model serves {worst.client} worst ({federated.measure} "
        f"{spell(worst.value)}) and {best.client} best ({spell(best.value)}).",
        "How far clients lie apart (standard deviation over them): "
        f"{formatting.join_list(spreads)}.",
    ]
    return sentences + ([_compare_with_local(results)] if "local" in results.models else [])


def _format_spread(fairness: Fairness) -> str:
    if fairness.measure == "accuracy":
        return formatting.format_points(fairness.spread).removeprefix("+")
    return formatting.format_number(fairness.spread)


def _compare_with_local(results: ClientResults) -> str:
    better, total = results.count_better("local")
    number = "all" if better == total else f"{formatting.spell_number(better)} of {total}"
    verb = "has" if better == 1 else "have"
    metric = "a higher accuracy" if results.uses_accuracy else "a lower loss"
    return (
        f"{formatting.capitalize_first(number)} clients {verb} {metric} with the federated model "
        "than with the one that the client trained alone."
    )
