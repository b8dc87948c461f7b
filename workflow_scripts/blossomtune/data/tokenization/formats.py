"""What a data set's rows are: prompt and completion, conversations, or plain text."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from blossomtune.data.columns import require_column
from blossomtune.errors import UserError

_ALPACA_TEMPLATES = {
    "prompt": "{{ instruction }}{% if input and input | trim %}\n\n{{ input }}{% endif %}",
    "completion": "{{ output }}",
}
_PROMPT_COMPLETION_TEMPLATES = {"prompt": "{{ prompt }}", "completion": "{{ completion }}"}
# name: the columns that a shape is known by
_REQUIRED_COLUMNS = {
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "prompt_completion": ("prompt", "completion"),
    "text": ("text",),
}


@dataclass(frozen=True)
class RowFormat:
    """How rows become turns or text.

    Attributes:
        name: prompt_completion, alpaca, messages, sharegpt or text.
        detected: whether the columns said so, and not the configuration.
        column: the column that is read as it is; None where templates write all.
        templates: the templates that are used, by key: system, prompt, completion, text.
    """

    name: str
    detected: bool
    column: str | None
    templates: dict[str, str]

    def describe(self) -> dict[str, Any]:
        """As the manifest tells it."""
        return asdict(self)


def resolve_format(config: Mapping[str, Any], schema: pa.Schema) -> RowFormat:
    """What the configuration says the rows are, or else what their columns say.

    Args:
        config: a preprocessing block.
        schema: the columns.

    Raises:
        UserError: where a column is missing, the rows are preference pairs, or nothing fits.
    """
    keys = ("system", "prompt", "completion", "text")
    given = {key: config[key] for key in keys if config[key] is not None}
    if "text" in given:
        return RowFormat("text", False, None, given)
    if "prompt" in given:
        return RowFormat("prompt_completion", False, None, given)
    name, detected = config["shape"], config["shape"] is None
    if name is None:
        name = _detect_format_name(schema)
        if name == "text" and given:
            raise UserError(
                "system: the rows are plain text, which has no turns",
                "leave `system` out, or write `prompt` and `completion`",
            )
    if name in ("alpaca", "prompt_completion"):
        for column in _REQUIRED_COLUMNS[name]:
            require_column(f"shape: {name}", column, schema.names)
        return RowFormat(name, detected, None, given | _get_default_templates(name, schema))
    column = config["column"] or _REQUIRED_COLUMNS[name][0]
    require_column("column" if config["column"] else f"shape: {name}", column, schema.names)
    return RowFormat(name, detected, column, given)


def _get_default_templates(name: str, schema: pa.Schema) -> dict[str, str]:
    if name == "prompt_completion":
        return _PROMPT_COMPLETION_TEMPLATES
    return (
        _ALPACA_TEMPLATES
        if "input" in schema.names
        else _ALPACA_TEMPLATES | {"prompt": "{{ instruction }}"}
    )


def _detect_format_name(schema: pa.Schema) -> str:
    columns = ", ".join(schema.names)
    if {"chosen", "rejected"} <= set(schema.names):
        raise UserError(
            "the rows are preference pairs (chosen and rejected), and preference tuning is not "
            f"what this workflow does; columns: {columns}",
            'completion: "{{ chosen }}" with a `prompt` trains on the preferred answer'
            if _is_flat(schema, "chosen")
            else "shape: messages with column: chosen trains on the preferred answer",
        )
    for name, needed in _REQUIRED_COLUMNS.items():
        nested = name in ("messages", "sharegpt")
        if all(c in schema.names and (nested or _is_flat(schema, c)) for c in needed):
            return name
    raise UserError(
        f"the columns are of no shape that is known; columns: {columns}",
        'say what the rows become with templates, such as prompt: "{{ question }}" and '
        'completion: "{{ answer }}", or text: "{{ body }}" for plain text; '
        "or name a column of conversations with `shape` and `column`",
    )


def _is_flat(schema: pa.Schema, column: str) -> bool:
    kind = schema.field(column).type
    return not pa.types.is_nested(kind)
