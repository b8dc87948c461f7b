"""Define the configuration of benchmarks by lm-evaluation-harness."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from blossomtune.config.base import (
    REJECT_BOOL,
    Block,
    Name,
    NonEmptyStr,
    PositiveInt,
    with_error_message,
)


class BenchmarkSettings(Block):
    """A benchmark of lm-evaluation-harness. See [Benchmarking](benchmarking.md)."""

    task: NonEmptyStr = Field(
        description="Name of a task, a group or a tag of lm-evaluation-harness, or of "
        "[a suite of FlowerTune](benchmarking.md#flowertune)."
    )
    num_fewshot: Annotated[int, Field(ge=0), REJECT_BOOL] | None = Field(
        None,
        description="Number of solved examples before each question. The default is the task's.",
    )
    limit: PositiveInt | None = Field(None, description="Score the first rows of each task only.")
    chat_template: Annotated[Literal["auto"] | bool, with_error_message("auto, true or false")] = (
        Field(
            "auto",
            description="Put questions into the model's chat template. `auto` does it where the "
            "model generates text, and not where it chooses among answers.",
        )
    )
    include_path: NonEmptyStr | None = Field(
        None, description="Folder with [task files of your own](benchmarking.md#your-own-tasks)."
    )
    dataset: Name | None = Field(
        None,
        description="A block of `datasets`: its test rows replace [the task's "
        "data](benchmarking.md#data-that-are-not-on-the-hub), its training rows are the examples.",
    )
    allow_code_execution: bool = Field(
        False,
        description="Run code that the model writes, [on this machine and with your "
        "rights](benchmarking.md#tasks-that-run-code). Tasks that do so need it.",
    )


def _expand_name(value: Any) -> Any:
    """Return the block of a benchmark that is given as the name of its task."""
    return {"task": value} if isinstance(value, str) else value


def _require_unique_tasks(benchmarks: list[BenchmarkSettings]) -> list[BenchmarkSettings]:
    """Return the benchmarks; raise ValueError if two have the same task."""
    tasks = [benchmark.task for benchmark in benchmarks]
    if repeated := sorted({task for task in tasks if tasks.count(task) > 1}):
        raise ValueError(f"{', '.join(map(repr, repeated))} is listed twice")
    return benchmarks


BenchmarkList = Annotated[
    list[
        Annotated[
            BenchmarkSettings,
            BeforeValidator(_expand_name, json_schema_input_type=str | BenchmarkSettings),
        ]
    ],
    AfterValidator(_require_unique_tasks),
]
"""Benchmarks; a name stands for a block with defaults."""
