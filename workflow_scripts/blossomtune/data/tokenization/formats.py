"""Row formats: prompt and completion, conversations, or plain text."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from blossomtune.artifacts.tokenized_manifest import FormatName, RowFormat
from blossomtune.data.columns import require_column
from blossomtune.errors import UserError

_ALPACA_TEMPLATES = {
    "prompt": "{{ instruction }}{% if input and input | trim %}\n\n{{ input }}{% endif %}",
    "completion": "{{ output }}",
}
_PROMPT_COMPLETION_TEMPLATES = {"prompt": "{{ prompt }}", "completion": "{{ completion }}"}
# columns by which a format is detected
_REQUIRED_COLUMNS: dict[FormatName, tuple[str, ...]] = {
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "prompt_completion": ("prompt", "completion"),
    "text": ("text",),
}


def resolve_format(config: Mapping[str, Any], schema: pa.Schema) -> RowFormat:
    """Return the configured row format, or else detect it by the columns.

    Args:
        config: a preprocessing block.
        schema: the rows' schema.

    Returns:
        The format.

    Raises:
        UserError: if a column is missing, the rows are preference pairs, or no format fits.
    """
    keys = ("system", "prompt", "completion", "text")
    templates = {key: config[key] for key in keys if config[key] is not None}
    if "text" in templates:
        return _build_format("text", False, None, templates)
    if "prompt" in templates:
        return _build_format("prompt_completion", False, None, templates)
    name, detected = config["shape"], config["shape"] is None
    if name is None:
        name = _detect_format_name(schema)
        if name == "text" and templates:
            raise UserError(
                "system: the rows are plain text, which has no turns",
                "leave `system` out, or write `prompt` and `completion`",
            )
    if name in ("alpaca", "prompt_completion"):
        for column in _REQUIRED_COLUMNS[name]:
            require_column(f"shape: {name}", column, schema.names)
        templates |= _get_default_templates(name, schema)
        return _build_format(name, detected, None, templates)
    column = config["column"] or _REQUIRED_COLUMNS[name][0]
    require_column("column" if config["column"] else f"shape: {name}", column, schema.names)
    return _build_format(name, detected, column, templates)


def _build_format(
    name: FormatName, detected: bool, column: str | None, templates: Mapping[str, str]
) -> RowFormat:
    return RowFormat(name=name, detected=detected, column=column, templates=dict(templates))


def _get_default_templates(name: str, schema: pa.Schema) -> dict[str, str]:
    if name == "prompt_completion":
        return _PROMPT_COMPLETION_TEMPLATES
    if "input" in schema.names:
        return _ALPACA_TEMPLATES
    return _ALPACA_TEMPLATES | {"prompt": "{{ instruction }}"}


def _detect_format_name(schema: pa.Schema) -> FormatName:
    columns = ", ".join(schema.names)
    if {"chosen", "rejected"} <= set(schema.names):
        raise UserError(
            "the rows are preference pairs (chosen and rejected), and preference tuning is not "
            f"what this workflow does; columns: {columns}",
            'completion: "{{ chosen }}" with a `prompt` trains on the preferred answer'
            if _is_flat(schema, "chosen")
            else "shape: messages with column: chosen trains on the preferred answer",
        )
    for name, required in _REQUIRED_COLUMNS.items():
        nested = name in ("messages", "sharegpt")
        if all(c in schema.names and (nested or _is_flat(schema, c)) for c in required):
            return name
    raise UserError(
        f"the columns are of no shape that is known; columns: {columns}",
        'say what the rows become with templates, such as prompt: "{{ question }}" and '
        'completion: "{{ answer }}", or text: "{{ body }}" for plain text; '
        "or name a column of conversations with `shape` and `column`",
    )


def _is_flat(schema: pa.Schema, column: str) -> bool:
    return not pa.types.is_nested(schema.field(column).type)
