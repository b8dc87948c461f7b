"""List what the manifest says about all rows."""

import json
from collections.abc import Iterator

from blossomtune.artifacts.tokenized_manifest import ChatTemplateUse, ColumnUse, TokenizedManifest
from blossomtune.reporting import formatting

_TEMPLATE_KEYS = ("system", "prompt", "completion", "text")
_CONTROL_TOKENS = {
    "error": "rows whose text holds one are refused",
    "text": "those in the text of rows are plain characters",
    "keep": "those in the text of rows act as control tokens",
}


def list_facts(manifest: TokenizedManifest) -> Iterator[tuple[str, str]]:
    """Yield name and value of what the manifest says about all rows."""
    shape = manifest.shape
    yield "shape", shape.name + (", detected from the columns" if shape.detected else "")
    yield from ((key, shape.templates[key]) for key in _TEMPLATE_KEYS if key in shape.templates)
    yield from _list_columns(manifest.column_use, shape.columns)
    if shape.name != "text":
        yield from _list_chat_template(manifest.chat_template)
    yield "control tokens", _CONTROL_TOKENS[manifest.chat_template.control_tokens]
    yield "at most", f"{formatting.format_count(manifest.max_length)} tokens per example"
    yield "packing", _describe_packing(manifest)


def _list_columns(use: ColumnUse, purposes: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the columns and turn fields, with the purpose of columns of other names."""
    names = {column: purpose for purpose, column in purposes.items() if purpose != column}
    columns = [f"{c} (as {names[c]})" if c in names else c for c in use.columns]
    for title, values in (
        ("columns", columns),
        ("ignored columns", use.ignored_columns),
        ("turn fields", use.turn_fields),
        ("ignored turn fields", use.ignored_turn_fields),
    ):
        if values:
            yield title, ", ".join(values)


def _list_chat_template(use: ChatTemplateUse) -> Iterator[tuple[str, str]]:
    for name, value in use.arguments.items():
        yield f"template argument {name}", json.dumps(value, ensure_ascii=False)
    if use.answer_prefix:
        yield "answers begin with", use.answer_prefix
    yield "turns end with", use.end_of_turn


def _describe_packing(manifest: TokenizedManifest) -> str:
    if not manifest.packing:
        return "no: each example is a sequence of its own"
    sequences = sum(c.num_examples for c in manifest.clients)
    return (
        f"yes: {formatting.format_amount(sequences, 'sequence')}; an example in a sequence attends "
        "only to itself"
    )
