"""Define the configuration of a client's training in a round."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from blossomtune.config.base import Block, FloatType, NonNegativeFloat, PositiveFloat


class TrainingSettings(Block):
    """Local training of a client in a round."""

    learning_rate_max: PositiveFloat = Field(
        5e-4,
        description="Learning rate in round 1. It follows half a cosine over the rounds and is "
        "constant within a round (arXiv 1608.03983).",
    )
    learning_rate_min: NonNegativeFloat = Field(
        5e-5,
        description="Learning rate in the last round; not above the maximum.",
        validate_default=True,
    )
    optimizer_state: Literal["fresh", "kept"] = Field(
        "fresh",
        description="`fresh` resets a client's optimizer in each round. `kept` continues with "
        "its state, which stays on the client.",
    )
    base_dtype: FloatType = Field(
        "float32",
        description="Data type of the frozen base and of the computation, for clients, the "
        "server's evaluation and baselines. The adapter and its optimizer are float32. "
        "`bfloat16` halves the memory and is usual on GPUs; `float16` needs one. With "
        "`quantization`, it applies to all that is not quantized.",
    )
    quantization: Literal["none", "8bit", "4bit"] = Field(
        "none",
        description="Quantization of the base weights during training, by bitsandbytes. `4bit` "
        "is NF4 with double quantization, computed in bfloat16 unless `base_dtype` is float16 "
        "(arXiv 2305.14314). The adapter is merged into the original weights.",
    )
    arguments: dict[str, Any] = Field(
        {},
        description="Arguments of TRL's SFTConfig; see [training "
        "arguments](federation-methods.md#training-arguments). `optim` may also be `adopt`.",
    )

    @field_validator("learning_rate_min")
    @classmethod
    def _validate_learning_rate_range(cls, learning_rate_min: float, info: ValidationInfo) -> float:
        high = info.data.get("learning_rate_max", learning_rate_min)
        if learning_rate_min > high:
            raise ValueError(f"{learning_rate_min} is above learning_rate_max ({high})")
        return learning_rate_min
