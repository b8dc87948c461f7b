"""Define the configuration of LoRA adapters."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator

from blossomtune.config.base import (
    REJECT_BOOL,
    Block,
    NonEmptyStr,
    PositiveFloat,
    PositiveInt,
    with_error_message,
)


class ColumnRanks(Block):
    """Ranks by a column of the clients' rows, for example the class of their hardware."""

    column: NonEmptyStr = Field(description="Column with a single value in all rows of a client.")
    ranks: dict[NonEmptyStr, PositiveInt] = Field(
        description='A rank for every value of the column. Values are text: `"1": 4`.', min_length=1
    )


def _get_ranks_tag(value: Any) -> str | None:
    if isinstance(value, list):
        return "list"
    return "block" if isinstance(value, Mapping | ColumnRanks) else None


ClientRanks = Annotated[
    Annotated[list[PositiveInt], Field(min_length=1), Tag("list")]
    | Annotated[ColumnRanks, Tag("block")],
    Discriminator(
        _get_ranks_tag,
        custom_error_type="custom_message",
        custom_error_message="a list of ranks, one a client, or a block of column and ranks",
    ),
]


class LoraSettings(Block):
    """The LoRA adapter that clients train (arXiv 2106.09685)."""

    r: PositiveInt = Field(
        8,
        description="Rank on the server, and of clients without a rank in `ranks`. The message "
        "size is proportional to it.",
    )
    alpha: PositiveFloat = Field(
        16, description="The update is scaled by `alpha / r`, with the client's rank as `r`."
    )
    dropout: Annotated[float, Field(ge=0, lt=1), REJECT_BOOL] = Field(
        0.0, description="Dropout on the adapter's input during training."
    )
    rslora: bool = Field(
        False,
        description="Scale by `alpha / √r` instead (arXiv 2312.03732). With different `ranks` "
        "the scales stay closer together.",
    )
    dora: bool = Field(
        False, description="Train a magnitude per output of a layer (arXiv 2402.09353)."
    )
    target_modules: Annotated[
        Annotated[list[NonEmptyStr], Field(min_length=1)] | Literal["all-linear"],
        with_error_message("a list of layers' names, or all-linear"),
    ] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        description="Layers with an adapter. An unknown name is an error that lists the "
        "model's layers. In models that read images, too, only layers of the language model get "
        "one.",
    )
    ranks: ClientRanks | None = Field(
        None,
        description="Ranks of the clients if they differ, none above `r`: a list in the order "
        "of the partition's manifest, or a block.",
    )

    @field_validator("ranks")
    @classmethod
    def _validate_ranks(cls, ranks: list[int] | ColumnRanks | None, info: ValidationInfo) -> object:
        values = list(ranks.ranks.values()) if isinstance(ranks, ColumnRanks) else ranks or []
        r = info.data.get("r")
        if r is not None and (high := [rank for rank in values if rank > r]):
            raise ValueError(f"{high[0]} is above r ({r}), the rank that the server keeps")
        return ranks


def compute_scaling(lora: LoraSettings, rank: int) -> float:
    """Return the factor of the product B A: alpha / r, with rsLoRA alpha / √r (arXiv 2312.03732).

    Args:
        lora: The adapter's settings.
        rank: r, the rank of B A.

    Returns:
        The factor.
    """
    return lora.alpha / (math.sqrt(rank) if lora.rslora else rank)
