"""The figure of a partition: rows by client, split by label where labels were counted."""

import math

from blossomtune.artifacts.partition_manifest import ClientPartition, PartitionManifest
from blossomtune.reporting import formatting
from blossomtune.reporting.bars import (
    Bar,
    draw_bars,
    draw_legend,
    draw_lines,
    layout_legend,
    wrap_lines,
)
from blossomtune.reporting.svg import Canvas, compute_ticks

_MAX_LABELS = 7  # labels that get a colour of their own
_MAX_NAMED_CLIENTS = 24  # clients that get a line and a name of their own
_MIN_COLUMN_WIDTH = 3  # pixels a column needs
_HEIGHT = 220

_Parts = list[tuple[str, str, float]]


def draw_partition(manifest: PartitionManifest, width: float) -> Canvas:
    """The figure at a width in pixels: a line a client, or columns where there are many."""
    if manifest.has_external_clients:
        return _draw_client_names(manifest, width)
    chosen = _most_frequent_labels(manifest)
    legends = [(f"c{i}", label) for i, label in enumerate(chosen)]
    others = len(manifest.labels or {}) - len(chosen)
    if others:
        legends.append(("c7", f"{others} others"))
    if not chosen:
        legends = [("c0", "rows")]
    parts = [_split_rows_by_label(share, legends) for share in manifest.clients]
    shown = legends if chosen else []
    if len(manifest.clients) > _MAX_NAMED_CLIENTS:
        return _draw_columns(manifest, parts, shown, width)
    found = [
        Bar(
            s.name,
            p,
            formatting.format_count(s.rows),
            "" if s.distance is None else f"{s.distance:.3f}",
        )
        for s, p in zip(manifest.clients, parts, strict=True)
    ]
    said = ", ".join(f"{bar.name} {bar.total}" for bar in found)
    notes = "distance" if any(bar.note for bar in found) else ""
    label = f"Training rows by client: {said}."
    return draw_bars(width, found, shown, label, lines=_describe_partition(manifest), notes=notes)


def _draw_client_names(manifest: PartitionManifest, width: float) -> Canvas:
    """Who the clients are, where nothing else is known of them."""
    names = [share.name for share in manifest.clients]
    said = [
        formatting.capitalize_first(
            f"{formatting.format_amount(len(names), 'client')}, each with rows that stay with it"
        )
    ]
    lines = wrap_lines([*said, formatting.join_list(names)], width)
    canvas = Canvas(width, 0, ": ".join([*said, formatting.join_list(names)]))
    canvas.resize(draw_lines(canvas, lines) + 4)
    return canvas


def _most_frequent_labels(manifest: PartitionManifest) -> list[str]:
    """The labels with most rows, in the order of numbers and letters."""
    totals = manifest.labels or {}
    most = sorted(totals, key=lambda label: (-totals[label], label))[:_MAX_LABELS]
    return sorted(most, key=lambda label: label.zfill(20) if label.isdigit() else label)


def _split_rows_by_label(client: ClientPartition, legends: list[tuple[str, str]]) -> _Parts:
    """A client's rows by entry of the legend; the last one gets what no other has."""
    labels = client.labels or {}
    parts = [(kind, name, float(labels.get(name, 0))) for kind, name in legends]
    kind, name = legends[-1]
    if kind == "c7" or client.labels is None:
        parts[-1] = (kind, name, client.rows - sum(size for _, _, size in parts[:-1]))
    return parts


def _describe_partition(manifest: PartitionManifest) -> list[str]:
    clients = manifest.clients
    rows = sum(share.rows for share in clients)
    lines = [
        f"{formatting.format_count(rows)} training rows, {formatting.format_amount(len(clients), 'client')}"
    ]
    distances = [share.distance for share in clients if share.distance is not None]
    if distances:
        mean = math.fsum(distances) / len(distances)
        lines.append(
            f"Jensen–Shannon distance from the whole: {mean:.3f} on average, "
            f"{min(distances):.3f} to {max(distances):.3f}"
        )
    held = [
        f"{formatting.format_count(sum(rows))} rows for {what}"
        for what, rows in (
            ("validation", [share.validation for share in clients]),
            ("testing", [share.test for share in clients]),
        )
        if any(rows)
    ]
    return lines + ([f"The clients keep {' and '.join(held)}"] if held else [])


def _draw_columns(
    manifest: PartitionManifest, parts: list[_Parts], legends: list[tuple[str, str]], width: float
) -> Canvas:
    """Upright columns, like clients side by side; a column is a mean where they do not all fit."""
    bottom, left = 22, 44
    size = math.ceil(len(parts) * _MIN_COLUMN_WIDTH / (width - left))
    order = sorted(parts, key=_label_sort_key)
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    pitch = (width - left) // len(groups)
    thick = pitch - (pitch > _MIN_COLUMN_WIDTH)
    lines = _describe_partition(manifest)
    each = "a column each" if size == 1 else f"a column for {size} (their mean)"
    sorting = "sorted by most frequent label, then by rows" if legends else "sorted by rows"
    lines.append(f"Clients: {each}, {sorting}")
    head = wrap_lines(lines, width)
    canvas = Canvas(width, 0, f"Training rows by client. {'. '.join(lines)}.")
    text = draw_lines(canvas, head)
    draw_legend(canvas, legends, text)
    top = text + layout_legend(legends, width)[1] + 8
    canvas.resize(top + _HEIGHT + bottom)
    means = [[sum(p[i][2] for p in g) / len(g) for i in range(len(g[0]))] for g in groups]
    scale = compute_ticks(max(map(sum, means)), 3)

    def y(value: float) -> float:
        return top + _HEIGHT * (1 - value / scale[-1])

    for tick in scale:
        canvas.line(left, y(tick), width, y(tick), "grid")
        label = (
            formatting.format_count(round(tick))
            if tick == round(tick)
            else formatting.format_setting(tick)
        )
        canvas.text(left - 8, y(tick) + 4, label, "soft small", anchor="end")
    for index, (kind, name, _) in enumerate(parts[0]):
        boxes = []
        for position, mean in enumerate(means):
            base = math.fsum(mean[:index])
            place = left + pitch * position
            boxes.append((place, y(base + mean[index]), thick, y(base) - y(base + mean[index])))
        canvas.boxes(boxes, kind, name)
    canvas.text(left, canvas.height - 4, "clients", "soft small")
    return canvas


def _label_sort_key(parts: _Parts) -> tuple[int, float]:
    """Sorts clients by their most frequent label, then by rows."""
    sizes = [size for _, _, size in parts]
    return sizes.index(max(sizes)), -sum(sizes)
