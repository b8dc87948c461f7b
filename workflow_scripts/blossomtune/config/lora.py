"""The block of an experiment's adapter."""

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
    """Ranks by a column of the clients' rows, e.g. the class of their hardware."""

    column: NonEmptyStr = Field(description="Has one value in all rows of a client.")
    ranks: dict[NonEmptyStr, PositiveInt] = Field(
        description="The rank for each value.", min_length=1
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
        custom_error_type="in_words",
        custom_error_message="a list of ranks, one a client, or a block of column and ranks",
    ),
]


class LoraSettings(Block):
    """The adapter (LoRA, arXiv 2106.09685)."""

    r: PositiveInt = Field(
        8, description="Rank on the server, and of clients where ranks is not given."
    )
    alpha: PositiveFloat = 16
    dropout: Annotated[float, Field(ge=0, lt=1), REJECT_BOOL] = 0.0
    rslora: bool = Field(False, description="Scale by alpha / sqrt(r) (arXiv 2312.03732).")
    dora: bool = Field(False, description="A trained magnitude a column (arXiv 2402.09353).")
    target_modules: Annotated[
        Annotated[list[NonEmptyStr], Field(min_length=1)] | Literal["all-linear"],
        with_error_message("a list of layers' names, or all-linear"),
    ] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    ranks: ClientRanks | None = Field(
        None, description="Ranks of the clients where they differ; none above r."
    )

    @field_validator("ranks")
    @classmethod
    def _validate_ranks(cls, ranks: list[int] | ColumnRanks | None, info: ValidationInfo) -> object:
        found = list(ranks.ranks.values()) if isinstance(ranks, ColumnRanks) else ranks or []
        r = info.data.get("r")
        if r is not None and (high := [rank for rank in found if rank > r]):
            raise ValueError(f"{high[0]} is above r ({r}), the rank that the server keeps")
        return ranks


def compute_scaling(lora: LoraSettings, rank: int) -> float:
    """What a product B A of this rank is multiplied by: alpha / r, with rsLoRA alpha / √r."""
    return lora.alpha / (math.sqrt(rank) if lora.rslora else rank)
