"""The block of what a client does in a round."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from blossomtune.config.base import Block, NonNegativeFloat, PositiveFloat


class TrainingSettings(Block):
    """What a client does in a round."""

    learning_rate_max: PositiveFloat = Field(5e-4, description="In round 1.")
    learning_rate_min: NonNegativeFloat = Field(
        5e-5, description="In the last round.", validate_default=True
    )
    optimizer_state: Literal["fresh", "kept"] = Field(
        "fresh", description="Whether a client's optimizer starts anew in each round."
    )
    quantization: Literal["none", "8bit", "4bit"] = Field(
        "none", description="Of the base's weights while training, by bitsandbytes."
    )
    arguments: dict[str, Any] = Field(
        {}, description="Any argument of TRL's SFTConfig; optim may also be adopt."
    )

    @field_validator("learning_rate_min")
    @classmethod
    def _validate_learning_rate_range(cls, learning_rate_min: float, info: ValidationInfo) -> float:
        high = info.data.get("learning_rate_max", learning_rate_min)
        if learning_rate_min > high:
            raise ValueError(f"{learning_rate_min} is above learning_rate_max ({high})")
        return learning_rate_min
