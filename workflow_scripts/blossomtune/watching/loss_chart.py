"""Draw losses by round as SVG, fast enough for a page that reloads."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from blossomtune.watching.progress import ExperimentProgress

WIDTH, HEIGHT, MARGIN = 600, 180, 40
"""Size in pixels, and the space left and below for labels."""


@dataclass
class Line:
    """One line of the chart.

    Attributes:
        name: name of the loss.
        points: horizontal and vertical position of each loss, in pixels.
        last: last value.
    """

    name: str
    points: list[tuple[float, float]]
    last: float


@dataclass
class LossChart:
    """Lines of losses, and the ends of the axes.

    Attributes:
        lines: one line per kind of loss.
        smallest: loss at the lower end.
        largest: loss at the upper end.
        num_rounds: round at the right end.
    """

    lines: list[Line]
    smallest: float
    largest: float
    num_rounds: int


def build_loss_chart(experiment: ExperimentProgress) -> LossChart | None:
    """Build the chart of an experiment.

    Args:
        experiment: The experiment.

    Returns:
        The chart; None without any finite loss.
    """
    finite = {
        name: [(number, loss) for number, loss in points if math.isfinite(loss)]
        for name, points in experiment.losses.items()
    }
    losses = [loss for points in finite.values() for _, loss in points]
    if not losses:
        return None
    smallest, largest = min(losses), max(losses)
    last_round = max(experiment.num_rounds, experiment.rounds_done, 1)
    return LossChart(
        _place_lines(finite, smallest, largest, last_round), smallest, largest, last_round
    )


def _place_lines(
    losses: Mapping[str, Sequence[tuple[int, float]]],
    smallest: float,
    largest: float,
    last_round: int,
) -> list[Line]:
    lines = []
    for name, points in losses.items():
        places = []
        for number, loss in points:
            depth = (largest - loss) / (largest - smallest) if largest > smallest else 0.5
            x = MARGIN + (WIDTH - MARGIN - 5) * number / last_round
            places.append((x, 5 + (HEIGHT - MARGIN) * depth))
        if points:
            lines.append(Line(name, places, points[-1][1]))
    return lines
