"""Plot the scores of all models, overall and by group."""

from collections.abc import Mapping

from blossomtune.artifacts.metrics import ConfidenceInterval, GroupMetrics
from blossomtune.reporting import charts, formatting
from blossomtune.reporting.charts import Figure
from blossomtune.reporting.dot_plot import DotRow, draw_dot_plot, is_finite
from blossomtune.reporting.load import ExperimentResults

MODEL_COLORS = {
    "base": charts.NEUTRAL,
    "federated": charts.ACCENT,
    "local": charts.PALETTE[0],
    "centralised": charts.PALETTE[1],
}
"""Colours by name of the model."""

MODEL_LABELS = {name: name for name in MODEL_COLORS} | {"local": "local only"}
"""Labels by name of the model."""

_MAX_ROWS = 24  # tables beside the plot show all groups


def label_model(e: ExperimentResults, name: str) -> str:
    """Return the label of a model.

    Args:
        e: the experiment.
        name: name of the model; ``local_<i>`` is the model that one client trained alone.

    Returns:
        Label with the client's name.
    """
    if name.startswith("local_"):
        return f"{e.history.clients[int(name.removeprefix('local_'))]} alone"
    return MODEL_LABELS[name]


def list_series(names: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return label and colour of the models with these names."""
    return [(MODEL_LABELS[name], MODEL_COLORS[name]) for name in names]


def select_metric(group: GroupMetrics, *, uses_accuracy: bool) -> ConfidenceInterval | None:
    """Return the metric by which models are compared.

    Args:
        group: metrics of a model.
        uses_accuracy: whether the metric is accuracy, else the loss.

    Returns:
        Accuracy as a share of 1, or loss in nats per completion token. None if accuracy is compared
        and the model has none.
    """
    return group.accuracy if uses_accuracy else group.loss


def build_row(
    label: str,
    groups: Mapping[str, GroupMetrics],
    *,
    uses_accuracy: bool,
    has_note: bool = True,
    is_strong: bool = False,
) -> DotRow:
    """Return a row with a dot for each model.

    Args:
        label: text before the row.
        groups: metrics by name of the model.
        uses_accuracy: whether models are compared by accuracy, else by loss.
        has_note: whether the number of rows is noted below the label.
        is_strong: whether the label is bold.

    Returns:
        Row for ``draw_dot_plot``. Models without a finite interval have no dot.
    """
    metrics = {n: select_metric(g, uses_accuracy=uses_accuracy) for n, g in groups.items()}
    dots = [(MODEL_LABELS[n], i) for n, i in metrics.items() if i and is_finite(i)]
    size = max((group.rows for group in groups.values()), default=0)
    note = f"{formatting.format_count(size)} examples" if has_note else ""
    return DotRow(label, note, dots, is_strong)


def draw_outcome(e: ExperimentResults, width: float) -> Figure:
    """Return accuracy, or loss, of every model with its interval, overall and by group.

    Args:
        e: the experiment.
        width: width of the figure in pixels.

    Returns:
        Dot plot of accuracy in percent, or of loss in nats per token. The first row is all
        examples, the others are the largest groups.
    """
    uses_accuracy, by = e.uses_accuracy, {n: m.by for n, m in e.metrics.items() if m.by}
    rows = [build_row("all", e.metrics, uses_accuracy=uses_accuracy, is_strong=True)]
    sizes = {value: group.rows for groups in by.values() for value, group in groups.items()}
    for value in sorted(sizes, key=lambda value: (-sizes[value], value))[: _MAX_ROWS - 1]:
        groups = {name: groups[value] for name, groups in by.items() if value in groups}
        rows.append(build_row(value, groups, uses_accuracy=uses_accuracy))
    spell = formatting.format_percent if uses_accuracy else formatting.format_number
    scores = ", ".join(f"{name} {spell(interval.value)}" for name, interval in rows[0].dots)
    metric = "Accuracy" if uses_accuracy else "Loss"
    return draw_dot_plot(
        [row for row in rows if row.dots],
        list_series(e.metrics),
        f"{metric} on the held-out examples: {scores}.",
        width,
        is_share=uses_accuracy,
    )
