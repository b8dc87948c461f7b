"""Select held-out answers to show side by side, the worst and the best among them."""

from collections.abc import Sequence
from dataclasses import dataclass

from blossomtune.artifacts.answers import AnswerRecord
from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults
from blossomtune.reporting.metric_names import choose_metric, get_metric_label

_MAX_ROWS, _MAX_EXTREMES = 20, 5
_OUTCOMES = ("better", "worse", "same")


@dataclass(frozen=True)
class ComparedAnswers:
    """A held-out row and the change from the base's answer to the federated model's.

    Attributes:
        record: the row and all answers.
        metric: the metric that compares the answers; None if they were not scored.
        change: the federated model's value minus the base's; 0 without a metric.
    """

    record: AnswerRecord
    metric: str | None
    change: float

    @property
    def outcome(self) -> str:
        """``better``, ``worse`` or ``same``."""
        return "better" if self.change > 0 else "worse" if self.change < 0 else "same"


def compare_answers(e: ExperimentResults) -> list[ComparedAnswers]:
    """Return the rows with answers of base and federated model, from the worst to the best change.

    Rows with equal changes keep their order in the data set.
    """
    records = [r for r in e.answers if {"base", "federated"} <= r.answers.keys()]
    scores = [a.scores.keys() for r in records for a in r.answers.values()]
    available = set.intersection(*map(set, scores)) if scores else set()
    metric = choose_metric(available, e.config["evaluation"]["metrics"] or [])
    compared = [ComparedAnswers(r, metric, _compute_change(r, metric)) for r in records]
    return sorted(compared, key=lambda c: (c.change, c.record.row))


def _compute_change(record: AnswerRecord, metric: str | None) -> float:
    if metric is None:
        return 0.0
    return record.answers["federated"].scores[metric] - record.answers["base"].scores[metric]


def select_rows(compared: Sequence[ComparedAnswers]) -> list[ComparedAnswers]:
    """Return up to twenty rows: the best five, the worst five, and others evenly between them.

    Args:
        compared: rows from the worst to the best change.

    Returns:
        Rows from the best to the worst change.
    """
    if len(compared) <= _MAX_ROWS:
        return list(reversed(compared))
    worst, best = compared[:_MAX_EXTREMES], compared[-_MAX_EXTREMES:]
    middle = compared[_MAX_EXTREMES:-_MAX_EXTREMES]
    size = _MAX_ROWS - len(worst) - len(best)
    between = [middle[(2 * i + 1) * len(middle) // (2 * size)] for i in range(size)]
    return list(reversed([*worst, *between, *best]))


def select_typical(compared: Sequence[ComparedAnswers]) -> ComparedAnswers | None:
    """Return the row with the median change; None without rows."""
    return compared[len(compared) // 2] if compared else None


def describe_outcomes(compared: Sequence[ComparedAnswers]) -> str:
    """Return on how many rows the federated model's answer is better and worse; empty if unknown.

    Args:
        compared: all rows with answers of both models.

    Returns:
        Part of a sentence without a full stop.
    """
    if not compared or compared[0].metric is None:
        return ""
    counts = [sum(c.outcome == outcome for c in compared) for outcome in _OUTCOMES]
    better, worse, same = (formatting.spell_number(n) if n else "none" for n in counts)
    verb = "is" if counts[0] == 1 else "are"
    answers = formatting.format_amount(len(compared), "written answer")
    metric = get_metric_label(compared[0].metric)
    return (
        f"of {answers}, {better} {verb} better than the base’s by {metric}, {worse} worse and "
        f"{same} the same"
    )
