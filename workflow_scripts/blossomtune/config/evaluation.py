"""The block of what is measured after training."""

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from blossomtune.config.base import (
    REJECT_BOOL,
    Block,
    NonEmptyStr,
    NonNegativeInt,
    PositiveInt,
    require_unique,
)


class GenerationSettings(Block):
    """Greedy answers, compared with the completion to the letter."""

    rows: NonNegativeInt = Field(64, description="Sampled test rows; 0 for none.")
    max_new_tokens: PositiveInt = 16


class EvaluationSettings(Block):
    """What is measured on the held-out rows, for all models alike."""

    choices: Annotated[list[NonEmptyStr], AfterValidator(require_unique)] = Field(
        [], description="Possible completions; the likeliest is the answer."
    )
    by: NonEmptyStr | None = Field(
        None, description="Column whose values get metrics of their own."
    )
    generation: GenerationSettings = GenerationSettings()
    batch_size: PositiveInt = 32
    bootstrap: Annotated[int, Field(ge=100), REJECT_BOOL] = Field(
        2000, description="Resamples an interval."
    )

    @field_validator("choices")
    @classmethod
    def _require_several_choices(cls, choices: list[str]) -> list[str]:
        if len(choices) == 1:
            raise ValueError(f"{choices} is no choice; give two or more, or none")
        return choices
