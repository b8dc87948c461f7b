"""The block of how rows become conversations, and these become tokens."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from blossomtune.config.base import REJECT_BOOL, Block, JinjaTemplate, NonEmptyStr


class PreprocessingSettings(Block):
    """Rows as conversations: Jinja2 templates over a row's columns, or columns of a known shape."""

    shape: Literal["prompt_completion", "alpaca", "messages", "sharegpt", "text"] | None = Field(
        None, description="What the rows are; by default found out from the columns."
    )
    column: NonEmptyStr | None = Field(
        None, description="Column of the conversation or text, where its name is not the usual one."
    )
    system: JinjaTemplate | None = Field(None, description="Template of a system turn.")
    prompt: JinjaTemplate | None = Field(
        None, description="Template of the user's turn; no loss on it."
    )
    completion: JinjaTemplate | None = Field(
        None, description="Template of the model's turn; the loss is on it alone."
    )
    text: JinjaTemplate | None = Field(
        None, description="Template of plain text; the loss is on all of it."
    )
    loss: Literal["every_turn", "last_turn"] = Field(
        "every_turn", description="Of several turns of the model, which ones count."
    )
    max_length: Annotated[int, Field(ge=8), REJECT_BOOL] = Field(
        512, description="Tokens a row may have."
    )
    too_long: Literal["error", "drop", "truncate"] = Field(
        "error", description="What happens to a row with more tokens."
    )
    unrenderable: Literal["error", "drop"] = Field(
        "error", description="What happens to a row that does not fit templates or shape."
    )
    packing: bool = Field(
        False, description="Fill sequences of max_length tokens with several short rows."
    )

    @model_validator(mode="after")
    def _validate_template_keys(self) -> "PreprocessingSettings":
        given = [key for key in ("prompt", "completion", "text") if getattr(self, key) is not None]
        if len(given) == 1 and given != ["text"]:
            other = "completion" if given == ["prompt"] else "prompt"
            raise ValueError(f"{given[0]} needs {other} beside it")
        if "text" in given and len(given) > 1:
            raise ValueError(f"text and {given[0]} exclude each other")
        written = "text" if given == ["text"] else "prompt_completion"
        if given and self.shape not in (None, written):
            raise ValueError(
                f"shape {self.shape} and the template {given[0]} exclude each other; "
                "a template says itself what the rows become"
            )
        if given and self.column is not None:
            raise ValueError(f"column and the template {given[0]} exclude each other")
        if self.column is not None and self.shape not in ("messages", "sharegpt", "text"):
            raise ValueError("column needs shape: messages, sharegpt or text beside it")
        if self.system is not None and ("text" in given or self.shape == "text"):
            raise ValueError("system and text exclude each other: plain text has no turns")
        return self
