"""Collect the models' generated answers by row."""

from collections.abc import Mapping

import numpy as np

from blossomtune.artifacts.answers import Answer, AnswerRecord
from blossomtune.evaluation.rows import EvaluationSet
from blossomtune.evaluation.scores import RowScores


def build_answer_records(
    scores: Mapping[str, RowScores], evaluation_set: EvaluationSet
) -> list[AnswerRecord]:
    """Return one record per row with generated answers.

    Args:
        scores: Scores by the name of the model; all have answers to the same rows.
        evaluation_set: The rows.

    Returns:
        Records in the order of the rows.
    """
    first = next(iter(scores.values()))
    records = []
    for i, position in enumerate(first.sampled_rows):
        row = evaluation_set.rows[position]
        answers = {
            name: Answer(
                text=s.answers[i],
                scores={
                    metric: round(float(values[i]), 6)
                    for metric, values in s.answer_scores.items()
                    if not np.isnan(values[i])
                },
            )
            for name, s in scores.items()
        }
        records.append(
            AnswerRecord(
                row=row.row,
                prompt=row.question,
                references=[row.completion, *row.references],
                answers=answers,
            )
        )
    return records
