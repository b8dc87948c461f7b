"""Define the configuration of the evaluation."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from blossomtune.config.base import (
    REJECT_BOOL,
    Block,
    FloatType,
    NonEmptyStr,
    NonNegativeInt,
    PositiveInt,
    require_unique,
)
from blossomtune.config.benchmarks import BenchmarkList
from blossomtune.config.judge import JudgeSettings

AnswerMetric = Literal[
    "exact_match",
    "normalized_exact_match",
    "token_f1",
    "rouge_l",
    "chrf",
    "numeric_match",
    "json_valid",
    "tool_call_match",
]
"""Metrics of generated answers."""


def _validate_regular_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no valid regular expression: {error}") from None
    return pattern


def _require_several_choices(choices: list[str]) -> list[str]:
    if len(choices) == 1:
        raise ValueError(f"{choices} is no choice; give two or more, or none")
    return require_unique(choices)


class GenerationSettings(Block):
    """Greedy answers, compared with the completion."""

    rows: NonNegativeInt = Field(64, description="Number of sampled held-out rows; 0 for none.")
    max_new_tokens: PositiveInt | None = Field(
        None,
        description="Maximum number of tokens per answer; by default 16 with `choices`, else 128.",
    )


class ChoicesColumn(Block):
    """Choices of each row's own, from a column of the data set.

    The column has a list of texts (their labels are A, B, C and so on), a mapping of labels to
    texts, or `{"text": […], "label": […]}`; or the JSON text of one. The completion is the text or
    the label of the right choice.
    """

    column: NonEmptyStr = Field(description="Column with the choices of a row.")
    score: Literal["text", "label"] = Field(
        "text", description="What the model's answer is chosen by: the likeliest text, or label."
    )


def _get_choices_kind(choices: Any) -> str:
    return "block" if isinstance(choices, dict | ChoicesColumn) else "list"


Choices = Annotated[
    Annotated[list[NonEmptyStr], AfterValidator(_require_several_choices), Tag("list")]
    | Annotated[ChoicesColumn, Tag("block")],
    Discriminator(_get_choices_kind),
]


class EvaluationSettings(Block):
    """The final evaluation of base, federated model and baselines on the same held-out rows."""

    choices: Choices = Field(
        [],
        description="All possible completions, two or more; or a block that names the column with "
        "the choices of each row. The most likely one is the model's answer; accuracy follows, "
        "and for a list macro-F1 and a confusion table. Without choices there are loss, "
        "perplexity and metrics of generated answers.",
    )
    metrics: Annotated[list[AnswerMetric], Field(min_length=1), AfterValidator(require_unique)] | (
        None
    ) = Field(
        None,
        description="Metrics of generated answers, each the best over the right answers of a row. "
        "By default `exact_match`, without choices also `token_f1`, `rouge_l` and `chrf`, and "
        "`tool_call_match` for rows whose right answers call tools. "
        "[Definitions](evaluation.md#metrics).",
    )
    answer: Annotated[NonEmptyStr, AfterValidator(_validate_regular_expression)] | None = Field(
        None,
        description="Python regular expression of the part of right and generated answers to "
        "compare: the first group (or all) of the last match. `tool_call_match` ignores it.",
    )
    by: NonEmptyStr | None = Field(None, description="Column for loss and accuracy per value.")
    generation: GenerationSettings = Field(GenerationSettings(), description="Generated answers.")
    batch_size: PositiveInt = Field(
        32, description="Largest number of rows scored at once; long rows form smaller batches."
    )
    device: Literal["auto", "cpu", "cuda", "xpu", "mps"] = Field(
        "auto",
        description="Device of the evaluation. `auto` is a GPU if "
        "`federation.gpus_per_client` is above 0 and there is one, else the CPU. `cuda` includes "
        "ROCm.",
    )
    dtype: FloatType = Field(
        "float32",
        description="Data type of all models' weights and computation. Losses are summed in "
        "float32.",
    )
    bootstrap: Annotated[int, Field(ge=100), REJECT_BOOL] = Field(
        2000, description="Resamples behind each 95 % interval."
    )

    benchmarks: BenchmarkList = Field(
        [],
        description="Benchmarks of lm-evaluation-harness for base, federated model and baselines, "
        "each a name or a block.",
    )
    judge: JudgeSettings | None = Field(
        None, description="Comparison of generated answers by a judge model; null for none."
    )

    @model_validator(mode="after")
    def _require_answers_to_compare(self) -> "EvaluationSettings":
        if self.judge and not self.generation.rows:
            raise ValueError(
                "judge compares generated answers, and generation.rows is 0; raise it, or leave "
                "judge out"
            )
        return self

    @property
    def max_new_tokens(self) -> int:
        """Return the maximum number of tokens per answer."""
        return self.generation.max_new_tokens or (16 if self.choices else 128)
