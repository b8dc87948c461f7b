"""Plot a partition: rows by client and label."""

import math
from collections.abc import Mapping

import altair as alt

from blossomtune.artifacts.partition_manifest import ClientPartition, PartitionManifest
from blossomtune.reporting import charts, formatting
from blossomtune.reporting.bars import Bar, draw_bars
from blossomtune.reporting.charts import Figure, Legend

_MAX_LABELS = 7  # labels with a colour of their own
_MAX_NAMED_CLIENTS = 24  # clients with a bar and a name of their own
_MIN_COLUMN_WIDTH = 3  # pixels
_HEIGHT, _LEFT = 220, 44

_Sizes = dict[str, float]
"""Rows by name of the label."""


def draw_partition(manifest: PartitionManifest, width: float) -> Figure:
    """Return a bar per client, or columns if there are many clients.

    Args:
        manifest: the partition.
        width: width of the figure in pixels.

    Returns:
        Training rows by client, coloured by label if rows have labels. Text alone if the clients
        bring rows of their own.
    """
    if manifest.has_external_clients:
        names = formatting.join_list(manifest.client_names)
        clients = formatting.format_amount(len(manifest.clients), "client")
        title = formatting.capitalize_first(f"{clients}, each with rows that stay with it")
        return charts.build_text_figure([title, names], width)
    labels = _most_frequent_labels(manifest)
    legend = list(zip(labels, charts.PALETTE, strict=False)) or [("rows", charts.PALETTE[0])]
    if others := len(manifest.labels or {}) - len(labels):
        legend.append((f"{others} others", charts.PALETTE[-1]))
    sizes = [_count_rows(client, [name for name, _ in legend]) for client in manifest.clients]
    if len(manifest.clients) > _MAX_NAMED_CLIENTS:
        return _draw_columns(manifest, sizes, legend, width)
    bars = [
        Bar(
            client.name,
            list(size.items()),
            formatting.format_count(client.rows or 0),
            "" if client.distance is None else f"{client.distance:.3f}",
        )
        for client, size in zip(manifest.clients, sizes, strict=True)
    ]
    return draw_bars(
        bars,
        legend,
        f"Training rows by client: {', '.join(f'{bar.name} {bar.total}' for bar in bars)}.",
        width,
        lines=_describe_partition(manifest),
        note_title="distance" if any(bar.note for bar in bars) else "",
        has_legend=bool(labels),
    )


def _most_frequent_labels(manifest: PartitionManifest) -> list[str]:
    """Return the labels with most rows, in numerical or alphabetical order."""
    totals = manifest.labels or {}
    most = sorted(totals, key=lambda label: (-totals[label], label))[:_MAX_LABELS]
    return sorted(most, key=lambda label: label.zfill(20) if label.isdigit() else label)


def _count_rows(client: ClientPartition, names: list[str]) -> _Sizes:
    """Return a client's rows by name; the last name counts the rows of no other one."""
    labels = client.labels or {}
    sizes = {name: float(labels.get(name, 0)) for name in names}
    sizes[names[-1]] = (client.rows or 0) - math.fsum(sizes[name] for name in names[:-1])
    return sizes


def _describe_partition(manifest: PartitionManifest) -> list[str]:
    clients = manifest.clients
    rows = sum(client.rows or 0 for client in clients)
    number = formatting.format_amount(len(clients), "client")
    lines = [f"{formatting.format_count(rows)} training rows, {number}"]
    distances = [c.distance for c in clients if c.distance is not None]
    if distances:
        mean = math.fsum(distances) / len(distances)
        lines.append(
            f"Jensen–Shannon distance from the whole: {mean:.3f} on average, "
            f"{min(distances):.3f} to {max(distances):.3f}"
        )
    splits = {
        "validation": sum(client.validation or 0 for client in clients),
        "testing": sum(client.test or 0 for client in clients),
    }
    held_out = [
        f"{formatting.format_count(n)} rows for {split}" for split, n in splits.items() if n
    ]
    return lines + ([f"The clients keep {' and '.join(held_out)}"] if held_out else [])


def _draw_columns(
    manifest: PartitionManifest, sizes: list[_Sizes], legend: Legend, width: float
) -> Figure:
    """Return sorted columns; each is a mean of several clients if not all fit."""
    per_column = math.ceil(len(sizes) * _MIN_COLUMN_WIDTH / (width - _LEFT))
    order = sorted(sizes, key=_label_sort_key)
    groups = [order[i : i + per_column] for i in range(0, len(order), per_column)]
    has_labels = manifest.labels is not None
    lines = _describe_partition(manifest)
    each = "a column each" if per_column == 1 else f"a column for {per_column} (their mean)"
    sorting = "sorted by most frequent label, then by rows" if has_labels else "sorted by rows"
    lines.append(f"Clients: {each}, {sorting}")
    head = charts.wrap_lines(lines, width)
    legend_top = charts.LINE_HEIGHT * len(head)
    top = legend_top + charts.measure_legend(legend if has_labels else [], width)[1] + 8
    means = [
        {name: math.fsum(size[name] for size in group) / len(group) for name in group[0]}
        for group in groups
    ]
    records = [
        {"column": column, "name": name, "mean": mean, "order": order}
        for column, sizes_of_column in enumerate([*means, means[-1]])  # the last one needs an end
        for order, (name, mean) in enumerate(sizes_of_column.items())
    ]
    color = charts.build_color("name", legend, width, left=_LEFT, top=top - legend_top)
    areas = charts.build_chart(records).mark_area(aria=True, interpolate="step-after")
    areas = areas.encode(
        x=alt.X("column:Q", axis=None, scale=alt.Scale(domain=[0, len(means)], nice=False)),
        y=alt.Y("mean:Q", axis=charts.build_number_axis(3)),
        color=color if has_labels else color.legend(None),
        order=alt.Order("order:Q"),
        description=alt.Description("name:N"),
    )
    layers = [
        areas,
        *charts.draw_lines(head, -_LEFT, -top),
        charts.draw_text("clients", 0, _HEIGHT + 12, **charts.SMALL),
    ]
    label = f"Training rows by client. {'. '.join(lines)}."
    height = top + _HEIGHT + 22
    return charts.build_figure(layers, label, width, height, left=_LEFT, top=top, bottom=22)


def _label_sort_key(sizes: Mapping[str, float]) -> tuple[int, float]:
    """Return a key that sorts by most frequent label, then by rows."""
    values = list(sizes.values())
    return values.index(max(values)), -sum(values)
