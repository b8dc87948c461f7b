"""Scores of models on the tasks of lm-evaluation-harness, per model and compared."""

from blossomtune.artifacts.base import Artifact, Part


class BenchmarkScore(Part):
    """A metric's value.

    Attributes:
        value: the value, as lm-evaluation-harness computes it.
        standard_error: standard error of the value; None if the metric has none.
    """

    value: float
    standard_error: float | None


Scores = dict[str, BenchmarkScore]
"""Scores by metric, such as ``acc``, or ``exact_match,strict-match`` with the name of a filter."""


class TaskDefinition(Part):
    """A task or a group of tasks, and how it was scored.

    Attributes:
        version: version of the task's definition.
        group: the group whose scores include this task's; None if the configuration asks for the
            task itself.
        subtasks: the tasks of a group; empty for a task.
        num_fewshot: number of solved examples before each question; None if it differs within a
            group.
        limit: largest number of rows per task that was asked for; None for all.
        rows: number of rows that were scored.
        chat_template: whether the questions stand in the model's chat template.
        main_metric: the metric that the task's definition has first.
        higher_is_better: by metric, whether a larger value is better; None if unknown.
    """

    version: str | None
    group: str | None
    subtasks: list[str]
    num_fewshot: int | None
    limit: int | None
    rows: int
    chat_template: bool
    main_metric: str
    higher_is_better: dict[str, bool | None]


class TaskScores(TaskDefinition):
    """Scores of one model on a task or a group.

    Attributes:
        scores: scores by metric.
        row_values: by metric, the value of each row, for metrics that are means over the rows;
            empty for a group.
    """

    scores: Scores
    row_values: dict[str, list[float]]


class ModelBenchmarks(Artifact):
    """Scores of one model on benchmarks: a file in ``benchmark_scores/``.

    Attributes:
        lm_eval: version of lm-evaluation-harness.
        tasks: tasks and groups by name.
    """

    lm_eval: str
    tasks: dict[str, TaskScores]


class LeakFreeScores(Part):
    """Scores on the rows that occur in no training rows, by metrics that are means over rows.

    Attributes:
        rows: number of these rows.
        scores: scores by model.
        difference: the federated model minus each other model, paired by row.
    """

    rows: int
    scores: dict[str, Scores]
    difference: dict[str, Scores]


class BenchmarkTask(TaskDefinition):
    """Scores of all models of an experiment on a task or a group.

    Attributes:
        scores: scores by model: ``base``, ``federated``, ``centralised`` and ``local_<i>``.
        difference: the federated model minus each other model, paired by row. It has only
            metrics that are means over the rows.
        leaked: rows whose questions occur, exactly or nearly, in training rows of any client.
        without_leaks: scores without the leaked rows; None if there are none, or no others.
    """

    scores: dict[str, Scores]
    difference: dict[str, Scores]
    leaked: int
    without_leaks: LeakFreeScores | None


class BenchmarkResults(Part):
    """Scores of all models of an experiment on its benchmarks.

    Attributes:
        lm_eval: version of lm-evaluation-harness.
        tasks: tasks and groups by name.
    """

    lm_eval: str
    tasks: dict[str, BenchmarkTask]
