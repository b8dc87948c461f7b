"""The figures, drawn at any width: the page has each one wide and narrow."""

from collections.abc import Callable, Sequence

from blossomtune.reporting import drift, formatting
from blossomtune.reporting.bars import Bar, draw_bars
from blossomtune.reporting.load import ExperimentResults
from blossomtune.reporting.loss import draw_loss
from blossomtune.reporting.outcome import draw_outcome
from blossomtune.reporting.stages import StageBenchmark
from blossomtune.reporting.svg import Canvas
from blossomtune.reporting.traffic import draw_traffic

Figure = Callable[[float], Canvas]
"""Draws itself at a width in pixels."""


def build_figures(e: ExperimentResults) -> dict[str, Figure]:
    """The figures of one experiment, by name."""
    return {
        "outcome": lambda width: draw_outcome(e, width),
        "loss": lambda width: draw_loss(e, width),
        "drift": lambda width: drift.draw_drift(e, width),
        "traffic": lambda width: draw_traffic(e, width),
    }


def draw_stage_times(benchmarks: Sequence[StageBenchmark], width: float) -> Canvas:
    """Wall time by stage."""
    if not benchmarks:
        canvas = Canvas(width, 40, "No times were measured.")
        canvas.text(0, 24, "No times were measured in this run.", "soft")
        return canvas
    found = [
        Bar(
            s.name.replace("_", " "),
            [("c0", "seconds", s.seconds)],
            formatting.format_duration(s.seconds),
        )
        for s in benchmarks
    ]
    said = ", ".join(f"{bar.name} {bar.total}" for bar in found)
    return draw_bars(width, found, [], f"Wall time by stage: {said}.")
