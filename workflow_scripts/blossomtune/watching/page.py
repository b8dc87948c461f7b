"""Render the page of a run in progress."""

import time
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from blossomtune.watching import loss_chart
from blossomtune.watching.progress import read_experiments

TEMPLATE_FILE = "page.html.jinja"
REFRESH_SECONDS = 3


@dataclass
class NewestLog:
    """The log that was written last.

    Attributes:
        path: its path.
        line: its last line.
        seconds_since: time since it was written.
    """

    path: Path
    line: str
    seconds_since: float


def render_page(results: Path) -> str:
    """Render the page from what a run has written so far; all text is escaped.

    Args:
        results: Folder of the results; it may be missing.

    Returns:
        HTML that reloads itself.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["duration"] = format_duration
    template = Path(__file__).with_name(TEMPLATE_FILE).read_text(encoding="utf-8")
    experiments = read_experiments(results)
    return environment.from_string(template).render(
        experiments=experiments,
        charts={e.name: loss_chart.build_loss_chart(e) for e in experiments},
        folder=results.resolve(),
        log=find_newest_log(results),
        refresh_seconds=REFRESH_SECONDS,
        width=loss_chart.WIDTH,
        height=loss_chart.HEIGHT,
        margin=loss_chart.MARGIN,
    )


def find_newest_log(results: Path) -> NewestLog | None:
    """Return the log that a stage wrote last, or None before any stage."""
    try:
        times = {path: path.stat().st_mtime for path in results.glob("logs/**/*.log")}
        path = max(times, key=lambda path: times[path])
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 2000))
            lines = file.read().decode(errors="replace").split("\n")
    except (OSError, ValueError):  # no log, or one that was removed just now
        return None
    line = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return NewestLog(path, line[-300:], max(0.0, time.time() - times[path]))


def format_duration(seconds: float) -> str:
    """Format seconds, such as ``45 s``, ``12 min`` or ``3 h 5 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
