"""The block of what is measured after training."""

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from blossomtune.config.base import NUMBER, Block, Count, Text, Whole, distinct


class Generation(Block):
    """Greedy answers, compared with the completion to the letter."""

    rows: Whole = Field(64, description="Sampled test rows; 0 for none.")
    max_new_tokens: Count = 16


class Evaluation(Block):
    """What is measured on the held-out rows, for all models alike."""

    choices: Annotated[list[Text], AfterValidator(distinct)] = Field(
        [], description="Possible completions; the likeliest is the answer."
    )
    by: Text | None = Field(None, description="Column whose values get metrics of their own.")
    generation: Generation = Generation()
    batch_size: Count = 32
    bootstrap: Annotated[int, Field(ge=100), NUMBER] = Field(
        2000, description="Resamples an interval."
    )

    @field_validator("choices")
    @classmethod
    def _none_or_several(cls, choices: list[str]) -> list[str]:
        if len(choices) == 1:
            raise ValueError(f"{choices} is no choice; give two or more, or none")
        return choices
