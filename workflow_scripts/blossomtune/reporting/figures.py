"""List the figures of an experiment and of the run."""

from collections.abc import Callable, Sequence
from functools import cache, partial

from blossomtune.reporting import charts, formatting
from blossomtune.reporting.bars import Bar, draw_bars
from blossomtune.reporting.charts import Figure
from blossomtune.reporting.drift import draw_drift
from blossomtune.reporting.load import ExperimentResults
from blossomtune.reporting.loss import draw_loss
from blossomtune.reporting.outcome import draw_outcome
from blossomtune.reporting.stages import StageBenchmark
from blossomtune.reporting.traffic import draw_traffic

DrawFunction = Callable[[float], Figure]
"""Returns a figure of a width in pixels."""


def build_figures(e: ExperimentResults) -> dict[str, DrawFunction]:
    """Return the figures of one experiment that are files too, by name."""
    functions = {
        "outcome": draw_outcome,
        "loss": draw_loss,
        "drift": draw_drift,
        "traffic": draw_traffic,
    }
    return {name: cache(partial(draw, e)) for name, draw in functions.items()}


def draw_stage_times(benchmarks: Sequence[StageBenchmark], width: float) -> Figure:
    """Return the wall time by stage.

    Args:
        benchmarks: measurements of the stages.
        width: width of the figure in pixels.

    Returns:
        One bar per stage with the sum of its jobs' times. Text alone if nothing was measured.
    """
    if not benchmarks:
        return charts.build_text_figure(["No times were measured in this run."], width)
    bars = [
        Bar(
            stage.name.replace("_", " "),
            [("seconds", stage.seconds)],
            formatting.format_duration(stage.seconds),
        )
        for stage in benchmarks
    ]
    label = ", ".join(f"{bar.name} {bar.total}" for bar in bars)
    return draw_bars(bars, [("seconds", charts.PALETTE[0])], f"Wall time by stage: {label}.", width)
