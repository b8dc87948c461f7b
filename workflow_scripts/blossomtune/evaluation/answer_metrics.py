"""Score generated answers by several metrics."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blossomtune.errors import UserError
from blossomtune.evaluation import structured_metrics, text_metrics
from blossomtune.evaluation.rows import EvaluationRow
from blossomtune.evaluation.tool_calls import tool_call_match
from blossomtune.work_limits import WorkLimitError, run_limited

logger = logging.getLogger(__name__)

TEXT_METRICS: Mapping[str, Callable[[str, str], float]] = {
    "exact_match": text_metrics.exact_match,
    "normalized_exact_match": text_metrics.normalized_exact_match,
    "token_f1": text_metrics.token_f1,
    "rouge_l": text_metrics.rouge_l,
    "chrf": text_metrics.chrf,
    "numeric_match": structured_metrics.numeric_match,
    "json_valid": structured_metrics.json_valid,
}
"""Functions of an answer and a right answer."""

TOOL_CALL_METRIC = "tool_call_match"

_ANSWER = "evaluation.answer"

FREE_TEXT_METRICS = ("exact_match", "token_f1", "rouge_l", "chrf")
"""Default without choices; with choices, it is the first alone."""


class AnswerScorer:
    """Scores answers to the held-out rows, each by the right answer that it is most like.

    Args:
        rows: The common held-out rows.
        settings: The stage's settings ``choices``, ``metrics`` and ``answer``.

    Attributes:
        metrics: Names of the metrics.

    Raises:
        UserError: If a metric does not fit the rows' right answers.
    """

    def __init__(self, rows: Sequence[EvaluationRow], settings: Mapping[str, Any]) -> None:
        self._rows = rows
        self._pattern = re.compile(settings["answer"]) if settings["answer"] else None
        self.metrics = self._select_metrics(settings["metrics"], bool(settings["choices"]))
        self._references = [self._extract_references(row) for row in rows]

    def score(
        self, positions: Sequence[int], answers: Sequence[str]
    ) -> dict[str, NDArray[np.float64]]:
        """Return the scores of answers.

        Args:
            positions: S positions of rows.
            answers: S answers to them.

        Returns:
            By metric, (S,) values from 0 to 1; NaN for rows that a metric does not apply to.
        """
        return {
            name: np.array(
                [self._score(name, i, text) for i, text in zip(positions, answers, strict=True)],
                dtype=np.float64,
            )
            for name in self.metrics
        }

    def _score(self, name: str, position: int, answer: str) -> float:
        if name == TOOL_CALL_METRIC:
            calls = self._rows[position].tool_calls
            return tool_call_match(answer, calls) if calls else float("nan")
        part = self._extract(self._rows[position], answer)
        if part is None:
            return 0.0
        return max(TEXT_METRICS[name](part, reference) for reference in self._references[position])

    def _extract(self, row: EvaluationRow, text: str) -> str | None:
        """Return the part of a text to compare: the last match's first group; None without one."""
        if self._pattern is None:
            return text
        try:
            matches: list[re.Match[str]] = run_limited(_ANSWER, list, self._pattern.finditer(text))
        except WorkLimitError as error:
            raise UserError(
                f"test row {row.row}: {error}: {self._pattern.pattern!r}",
                "a repetition inside a repetition, such as (a+)+, can match in too many ways",
            ) from None
        return matches[-1][1 if self._pattern.groups else 0] if matches else None

    def _extract_references(self, row: EvaluationRow) -> list[str]:
        parts = []
        for text in (row.completion, *row.references):
            part = self._extract(row, text)
            if part is None and set(self.metrics) != {TOOL_CALL_METRIC}:
                raise UserError(
                    f"{_ANSWER}: no match in a right answer to test row {row.row}: {text[:200]!r}",
                    "the expression is searched in right answers and in generated ones",
                )
            if (
                "numeric_match" in self.metrics
                and structured_metrics.find_number(part or "") is None
            ):
                raise UserError(
                    f"evaluation.metrics: numeric_match needs a number in each right answer; "
                    f"test row {row.row} has none: {(part or text)[:200]!r}",
                    "evaluation.answer extracts the part with the number",
                )
            parts.append(part or "")
        return parts

    def _select_metrics(self, names: Sequence[str] | None, has_choices: bool) -> Sequence[str]:
        """Return the configured metrics, or those that suit the rows."""
        rows = [row for row in self._rows if row.tool_calls]
        unreadable = [row for row in rows if not tool_call_match(row.completion, row.tool_calls)]
        if names is not None:
            if TOOL_CALL_METRIC in names and (not rows or unreadable):
                problem = (
                    f"the calls of test row {unreadable[0].row} cannot be read as the model's "
                    f"chat template writes them: {unreadable[0].completion[:200]!r}"
                    if unreadable
                    else "the right answers of the test rows have no tool calls"
                )
                raise UserError(f"evaluation.metrics: {TOOL_CALL_METRIC}: {problem}")
            return names
        defaults = FREE_TEXT_METRICS[:1] if has_choices else FREE_TEXT_METRICS
        if unreadable:
            logger.warning("tool calls are not compared: this model's format is not known")
        return (*defaults, TOOL_CALL_METRIC) if rows and not unreadable else defaults
