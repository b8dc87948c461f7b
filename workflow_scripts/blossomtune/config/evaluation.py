"""Define the configuration of the evaluation."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from blossomtune.config.base import (
    REJECT_BOOL,
    Block,
    FloatType,
    NonEmptyStr,
    NonNegativeInt,
    PositiveInt,
    require_unique,
)
from blossomtune.config.judge import JudgeSettings


class GenerationSettings(Block):
    """Greedy answers, compared with the completion."""

    rows: NonNegativeInt = Field(64, description="Number of sampled held-out rows; 0 for none.")
    max_new_tokens: PositiveInt = Field(16, description="Maximum number of tokens per answer.")


class EvaluationSettings(Block):
    """The final evaluation of base, federated model and baselines on the same held-out rows."""

    choices: Annotated[list[NonEmptyStr], AfterValidator(require_unique)] = Field(
        [],
        description="All possible completions, two or more. The most likely one is the model's "
        "answer; accuracy, macro-F1 and a confusion table follow. Without choices there are "
        "loss, perplexity and exact match.",
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

    judge: JudgeSettings | None = Field(
        None, description="Comparison of generated answers by a judge model; null for none."
    )

    @field_validator("choices")
    @classmethod
    def _require_several_choices(cls, choices: list[str]) -> list[str]:
        if len(choices) == 1:
            raise ValueError(f"{choices} is no choice; give two or more, or none")
        return choices

    @model_validator(mode="after")
    def _require_answers_to_compare(self) -> "EvaluationSettings":
        if self.judge and not self.generation.rows:
            raise ValueError(
                "judge compares generated answers, and generation.rows is 0; raise it, or leave "
                "judge out"
            )
        return self
