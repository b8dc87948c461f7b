"""The figures, drawn at any width: the page has each one wide and narrow."""

from collections.abc import Callable, Sequence

from blossomtune.reporting import drift, words
from blossomtune.reporting.bars import Bar, bars
from blossomtune.reporting.inputs import Experiment
from blossomtune.reporting.learning import loss
from blossomtune.reporting.outcome import outcome
from blossomtune.reporting.stages import Stage
from blossomtune.reporting.svg import Canvas
from blossomtune.reporting.traffic import traffic

Figure = Callable[[float], Canvas]
"""Draws itself at a width in pixels."""


def of_experiment(e: Experiment) -> dict[str, Figure]:
    """The figures of one experiment, by name."""
    return {
        "outcome": lambda width: outcome(e, width),
        "loss": lambda width: loss(e, width),
        "drift": lambda width: drift.draw(e, width),
        "traffic": lambda width: traffic(e, width),
    }


def time(stages: Sequence[Stage], width: float) -> Canvas:
    """Wall time by stage."""
    if not stages:
        canvas = Canvas(width, 40, "No times were measured.")
        canvas.text(0, 24, "No times were measured in this run.", "soft")
        return canvas
    found = [
        Bar(s.name.replace("_", " "), [("c0", "seconds", s.seconds)], words.duration(s.seconds))
        for s in stages
    ]
    said = ", ".join(f"{bar.name} {bar.total}" for bar in found)
    return bars(width, found, [], f"Wall time by stage: {said}.")
