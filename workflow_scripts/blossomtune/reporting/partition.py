"""The figure of a partition: rows by client, split by label where labels were counted."""

import math

from blossomtune.reporting import words
from blossomtune.reporting.bars import Bar, bars, flow, legend, paragraph, write
from blossomtune.reporting.manifests import PartitionManifest, Share
from blossomtune.reporting.svg import Canvas, ticks

_LABELS = 7  # labels that get a colour of their own
_NAMED = 24  # clients that get a line and a name of their own
_THIN = 3  # pixels a column needs
_HEIGHT = 220

_Parts = list[tuple[str, str, float]]


def draw(manifest: PartitionManifest, width: float) -> Canvas:
    """The figure at a width in pixels: a line a client, or columns where there are many."""
    if manifest.elsewhere:
        return _names(manifest, width)
    chosen = _chosen(manifest)
    legends = [(f"c{i}", label) for i, label in enumerate(chosen)]
    others = len(manifest.labels or {}) - len(chosen)
    if others:
        legends.append(("c7", f"{others} others"))
    if not chosen:
        legends = [("c0", "rows")]
    parts = [_parts(share, legends) for share in manifest.clients]
    shown = legends if chosen else []
    if len(manifest.clients) > _NAMED:
        return _columns(manifest, parts, shown, width)
    found = [
        Bar(s.name, p, words.count(s.rows), "" if s.distance is None else f"{s.distance:.3f}")
        for s, p in zip(manifest.clients, parts, strict=True)
    ]
    said = ", ".join(f"{bar.name} {bar.total}" for bar in found)
    notes = "distance" if any(bar.note for bar in found) else ""
    label = f"Training rows by client: {said}."
    return bars(width, found, shown, label, lines=_lines(manifest), notes=notes)


def _names(manifest: PartitionManifest, width: float) -> Canvas:
    """Who the clients are, where nothing else is known of them."""
    names = [share.name for share in manifest.clients]
    said = [
        words.capital(f"{words.amount(len(names), 'client')}, each with rows that stay with it")
    ]
    lines = paragraph([*said, words.listed(names)], width)
    canvas = Canvas(width, 0, ": ".join([*said, words.listed(names)]))
    canvas.resize(write(canvas, lines) + 4)
    return canvas


def _chosen(manifest: PartitionManifest) -> list[str]:
    """The labels with most rows, in the order of numbers and letters."""
    totals = manifest.labels or {}
    most = sorted(totals, key=lambda label: (-totals[label], label))[:_LABELS]
    return sorted(most, key=lambda label: label.zfill(20) if label.isdigit() else label)


def _parts(share: Share, legends: list[tuple[str, str]]) -> _Parts:
    """A client's rows by entry of the legend; the last one gets what no other has."""
    labels = share.labels or {}
    parts = [(kind, name, float(labels.get(name, 0))) for kind, name in legends]
    kind, name = legends[-1]
    if kind == "c7" or share.labels is None:
        parts[-1] = (kind, name, share.rows - sum(size for _, _, size in parts[:-1]))
    return parts


def _lines(manifest: PartitionManifest) -> list[str]:
    clients = manifest.clients
    rows = sum(share.rows for share in clients)
    lines = [f"{words.count(rows)} training rows, {words.amount(len(clients), 'client')}"]
    distances = [share.distance for share in clients if share.distance is not None]
    if distances:
        mean = math.fsum(distances) / len(distances)
        lines.append(
            f"Jensen–Shannon distance from the whole: {mean:.3f} on average, "
            f"{min(distances):.3f} to {max(distances):.3f}"
        )
    held = [
        f"{words.count(sum(rows))} rows for {what}"
        for what, rows in (
            ("validation", [share.validation for share in clients]),
            ("testing", [share.test for share in clients]),
        )
        if any(rows)
    ]
    return lines + ([f"The clients keep {' and '.join(held)}"] if held else [])


def _columns(
    manifest: PartitionManifest, parts: list[_Parts], legends: list[tuple[str, str]], width: float
) -> Canvas:
    """Upright columns, like clients side by side; a column is a mean where they do not all fit."""
    bottom, left = 22, 44
    size = math.ceil(len(parts) * _THIN / (width - left))
    order = sorted(parts, key=_similar)
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    pitch = (width - left) // len(groups)
    thick = pitch - (pitch > _THIN)
    lines = _lines(manifest)
    each = "a column each" if size == 1 else f"a column for {size} (their mean)"
    sorting = "sorted by most frequent label, then by rows" if legends else "sorted by rows"
    lines.append(f"Clients: {each}, {sorting}")
    head = paragraph(lines, width)
    canvas = Canvas(width, 0, f"Training rows by client. {'. '.join(lines)}.")
    text = write(canvas, head)
    legend(canvas, legends, text)
    top = text + flow(legends, width)[1] + 8
    canvas.resize(top + _HEIGHT + bottom)
    means = [[sum(p[i][2] for p in g) / len(g) for i in range(len(g[0]))] for g in groups]
    scale = ticks(max(map(sum, means)), 3)

    def y(value: float) -> float:
        return top + _HEIGHT * (1 - value / scale[-1])

    for tick in scale:
        canvas.line(left, y(tick), width, y(tick), "grid")
        label = words.count(round(tick)) if tick == round(tick) else words.plain(tick)
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


def _similar(parts: _Parts) -> tuple[int, float]:
    """Sorts clients by their most frequent label, then by rows."""
    sizes = [size for _, _, size in parts]
    return sizes.index(max(sizes)), -sum(sizes)
