"""Define the configuration of preprocessing: from rows to tokens."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from blossomtune.config.base import (
    REJECT_BOOL,
    Block,
    JinjaTemplate,
    NonEmptyStr,
    require_unique,
)

_RESERVED_ARGUMENTS = frozenset(
    (
        *("messages", "tools", "documents", "add_generation_prompt", "conversation", "tokenize"),
        *("chat_template", "continue_final_message", "padding", "truncation", "max_length"),
        *("return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs"),
        "sanitize_control_tokens",
        *("bos_token", "eos_token", "pad_token", "unk_token", "strftime_now"),
    )
)


class PreprocessingSettings(Block):
    """Conversion of rows to conversations and token ids.

    [Your own data](own-data.md#rows) explains the row formats.
    """

    shape: (
        Literal["prompt_completion", "alpaca", "messages", "sharegpt", "input_ideal", "text"] | None
    ) = Field(None, description="Format of the rows. The default is detected from the columns.")
    column: NonEmptyStr | None = Field(
        None,
        description="Column of the conversation or text, if it has another name than "
        "`messages`, `conversations` or `text`. Needs `shape`.",
    )
    system: JinjaTemplate | None = Field(
        None,
        description="Template of a system turn. Conversations that start with their own keep it.",
    )
    prompt: JinjaTemplate | None = Field(
        None, description="Template of the user's turn, without loss. Needs `completion`."
    )
    completion: JinjaTemplate | None = Field(
        None,
        description="Template of the model's turn, the only text with loss. It may not be empty.",
    )
    text: JinjaTemplate | None = Field(
        None, description="Template of plain text, instead of `prompt` and `completion`."
    )
    ignore_columns: Annotated[list[NonEmptyStr], AfterValidator(require_unique)] = Field(
        [],
        description="Columns, and fields of turns as `messages.name`, that are left out although "
        "they look like training content. Without this key they are an error.",
    )
    loss: Literal["every_turn", "last_turn"] = Field(
        "every_turn",
        description="Which answers of a conversation have a loss. The evaluation scores the "
        "last one. Turns with `weight: 0` or `train: false` never have one.",
    )
    chat_template_arguments: dict[NonEmptyStr, bool | int | float | str] = Field(
        {},
        description="Variables of the model's chat template, such as `enable_thinking: false`. "
        "Training, evaluation and the model card use the same.",
    )
    system_role: Literal["keep", "fold"] = Field(
        "keep",
        description="`fold` writes the system turn before the text of the first user turn, for "
        "models without a system role.",
    )
    control_tokens: Literal["error", "text", "keep"] = Field(
        "error",
        description="Rows whose text holds a control token of the model, such as `<|im_end|>`: "
        "refuse them, tokenize it as plain characters, or let it act as a control token.",
    )
    prompt_mismatch: Literal["error", "warn"] = Field(
        "error",
        description="Rows whose prompt ends at inference with text that training does not have, "
        "such as `<think>`: refuse them, or train without this text and warn.",
    )
    max_length: Annotated[int, Field(ge=8), REJECT_BOOL] = Field(
        512, description="Maximum number of tokens per row, including those of the chat template."
    )
    too_long: Literal["error", "drop", "truncate"] = Field(
        "error",
        description="Action for longer rows. `truncate` cuts their end, and drops rows without "
        "a remaining answer.",
    )
    unrenderable: Literal["error", "drop"] = Field(
        "error",
        description="Action for rows that templates, format or chat template cannot render.",
    )
    leaks: Literal["report", "drop", "error"] = Field(
        "report",
        description="Training rows that equal, or nearly equal, a held-out row: count them, so "
        "that the report gives the scores without these held-out rows, too; leave them out of "
        "training; or refuse them. Questions of benchmarks in training rows are counted, too; "
        "`error` refuses them.",
    )
    packing: bool = Field(
        False,
        description="Fill sequences of `max_length` tokens with several short rows, which "
        "attend only to themselves. `max_steps` then counts sequences. Models that would mix the "
        "rows are refused: those with convolution, linear attention or a state space, and those "
        "with an attention window shorter than `max_length`.",
    )

    @field_validator("chat_template_arguments")
    @classmethod
    def _reject_reserved_arguments(cls, arguments: dict[str, object]) -> dict[str, object]:
        if reserved := sorted(_RESERVED_ARGUMENTS & set(arguments)):
            raise ValueError(f"{reserved[0]!r} is set by the workflow itself")
        return arguments

    @model_validator(mode="after")
    def _validate_template_keys(self) -> "PreprocessingSettings":
        templates = [
            key for key in ("prompt", "completion", "text") if getattr(self, key) is not None
        ]
        if len(templates) == 1 and templates != ["text"]:
            other = "completion" if templates == ["prompt"] else "prompt"
            raise ValueError(f"{templates[0]} needs {other} beside it")
        if "text" in templates and len(templates) > 1:
            raise ValueError(f"text and {templates[0]} exclude each other")
        shape = "text" if templates == ["text"] else "prompt_completion"
        if templates and self.shape not in (None, shape):
            raise ValueError(
                f"shape {self.shape} and the template {templates[0]} exclude each other; "
                "a template says itself what the rows become"
            )
        if templates and self.column is not None:
            raise ValueError(f"column and the template {templates[0]} exclude each other")
        if self.column is not None and self.shape not in ("messages", "sharegpt", "text"):
            raise ValueError("column needs shape: messages, sharegpt or text beside it")
        if self.system is not None and ("text" in templates or self.shape == "text"):
            raise ValueError("system and text exclude each other: plain text has no turns")
        return self
