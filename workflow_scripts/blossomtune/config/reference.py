"""Print the configuration reference as Markdown: ``python -m blossomtune.config.reference``."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from blossomtune.config.configuration import Configuration
from blossomtune.config.sft_arguments import RESERVED

Schema = Mapping[str, Any]

INTRODUCTION = """\
# Configuration reference

<!-- Generated from the schema by `make docs`. Edit the descriptions in
     workflow_scripts/blossomtune/config/ instead. -->

This page lists every key of the configuration. [Getting started](getting-started.md) explains how
to change it. [Your own data](own-data.md) and [federation methods](federation-methods.md) explain
what to choose. `<name>` stands for a name of your choice.
"""

STAGES = {
    "container": "With `--use-singularity` a change reruns every stage, otherwise nothing.",
    "models": "A change reruns fetch_model and its downstream stages.",
    "datasets": "A change reruns download and its downstream stages.",
    "partitions": "A change reruns partition and its downstream stages.",
    "preprocessing": "A change reruns preprocess and its downstream stages.",
    "lora": "A change reruns federate and train_baseline and their downstream stages.",
    "training": "A change reruns federate and train_baseline and their downstream stages.",
    "federation": "A change reruns federate and its downstream stages. "
    "[Some keys](reproducibility.md#keys-that-keep-finished-rounds) keep finished rounds.",
    "baselines": "A change reruns train_baseline and its downstream stages.",
    "evaluation": "A change reruns evaluate and report. `batch_size`, `device` and `dtype` rerun "
    "benchmark, too.",
    "evaluation: benchmarks": "A change reruns benchmark and report.",
    "evaluation: judge": "A change reruns judge and report.",
    "report": "A change reruns report.",
}

PATTERNS = {
    "^[A-Za-z0-9][A-Za-z0-9_.-]*$": "name",
    "^[0-9a-f]{64}$": "64 hexadecimal digits",
    "^https?://": "URL",
}


def reference() -> str:
    """Return the reference page of the whole configuration."""
    schema = Configuration.model_json_schema()
    parts = [INTRODUCTION, *_Page(schema["$defs"]).block("", "Top level", schema, 2)]
    return "\n".join(parts).rstrip() + "\n"


class _Page:
    """Render blocks of a JSON schema.

    Args:
        definitions: ``$defs`` of the schema.
    """

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self.definitions = definitions
        self.unions: dict[str, list[Schema]] = {}

    def block(self, path: str, title: str, schema: Schema, level: int) -> Iterator[str]:
        """Yield the paragraphs of a block and of all blocks inside it.

        Args:
            path: key of the block, from the top of the configuration; empty for the top level.
            title: heading of the block.
            schema: JSON schema of the block.
            level: level of the heading.

        Yields:
            Paragraphs and lines of tables.
        """
        yield from self._heading(path, title, level)
        if path:
            yield _text(schema["description"]) + "\n"
        yield "| Key | Type | Default | Description |\n|---|---|---|---|"
        yield from self._rows(title, schema, schema["properties"])
        yield ""
        if title == "training":
            yield from _reserved_arguments(level + 1)
        yield from self._inner(path, title, schema["properties"], level + (path != ""))

    def _union(
        self, path: str, title: str, key: str, blocks: list[Schema], level: int
    ) -> Iterator[str]:
        """Yield a union of blocks: a table of the keys they share, and one of their own keys."""
        yield from self._heading(path, title, level)
        first, *others = (block["properties"] for block in blocks)
        shared = {k: v for k, v in first.items() if k != key and all(k in o for o in others)}
        if shared and len(blocks) > 3:
            yield "| Key | Type | Default | Description |\n|---|---|---|---|"
            yield from self._rows(title, blocks[0], shared)
            yield ""
        else:
            shared = {}
        yield f"| `{key}` | Key | Type | Default | Description |\n|---|---|---|---|---|"
        for block in blocks:
            yield f"| `{block['properties'][key]['const']}` | | | | {_cell(block['description'])} |"
            own = {k: v for k, v in block["properties"].items() if k != key and shared.get(k) != v}
            for row in self._rows(title, block, own):
                yield f"| {row}"
        yield ""

    def _heading(self, path: str, title: str, level: int) -> Iterator[str]:
        yield f"{'#' * level} {title}\n"
        if path:
            yield f"Key: `{path}`. {STAGES.get(title, '')}".rstrip() + "\n"

    def _rows(self, title: str, block: Schema, properties: Mapping[str, Schema]) -> Iterator[str]:
        for key, field in properties.items():
            required = key in block.get("required", ())
            default = "required" if required else self._default(field)
            kind = self._type(field, _title(title, key))
            yield f"| `{key}` | {kind} | {default} | {_cell(field.get('description', ''))} |"

    def _inner(
        self, path: str, title: str, properties: Mapping[str, Schema], level: int
    ) -> Iterator[str]:
        for key, field in properties.items():
            values = _values(field)
            if not (found := self._blocks(field if values is None else values)):
                continue
            suffix = "[]" if field.get("type") == "array" else "" if values is None else ".<name>"
            below = f"{path}.{key}".removeprefix(".") + suffix
            discriminator, blocks = found
            heading = _title(title, key)
            if not discriminator:
                yield from self.block(below, heading, blocks[0], level)
            elif self._heading_of(blocks, heading) == heading:
                self.unions[heading] = blocks
                yield from self._union(below, heading, discriminator, blocks, level)

    def _blocks(self, field: Schema) -> tuple[str, list[Schema]] | None:
        """Return the blocks that a field may hold, and the key that tells them apart."""
        if "$ref" in field:
            return "", [self._resolve(field)]
        if "discriminator" in field:
            key = field["discriminator"]["propertyName"]
            return key, [self._resolve(member) for member in field["oneOf"]]
        if "items" in field:
            return self._blocks(field["items"])
        for member in field.get("anyOf", field.get("oneOf", ())):
            if found := self._blocks(member):
                return found
        return None

    def _heading_of(self, blocks: list[Schema], heading: str) -> str:
        """Return the heading under which a union is described already, or else ``heading``."""
        printed = (title for title, known in self.unions.items() if all(b in known for b in blocks))
        return next(printed, heading)

    def _resolve(self, field: Schema) -> Schema:
        return self.definitions[field["$ref"].rpartition("/")[2]]

    def _type(self, field: Schema, title: str) -> str:
        """Return the type of a field in words; a block links to the heading ``title``."""
        if "$ref" in field:
            return f"[block](#{_anchor(title)})"
        if "discriminator" in field:
            _, blocks = self._blocks(field) or ("", [])
            return f"[block](#{_anchor(self._heading_of(blocks, title))})"
        if members := field.get("anyOf", field.get("oneOf")):
            kinds = [self._type(m, title) for m in members if m.get("type") != "null"]
            if any("discriminator" in m for m in members) and len(kinds) > 1:
                kinds[:-1] = ["name"]  # the table of blocks lists the names
            return ", or ".join(dict.fromkeys(kinds))
        if "const" in field or "enum" in field:
            values = field.get("enum", [field.get("const")])
            return ", ".join(_code(value) for value in values)
        kind = field.get("type")
        if kind == "array":
            item = self._type(field["items"], title)
            return "list of " + re.sub(r"^(name|text|integer|number|list)\b", r"\1s", item)
        if kind == "object":
            if (values := _values(field)) is None:
                return "mapping"
            if self._blocks(values):
                return f"[blocks by name](#{_anchor(title)})"
            return f"mapping of text to {self._type(values, title)}"
        if kind in ("integer", "number"):
            return f"{kind} {_bounds(field)}".strip()
        if kind == "boolean":
            return "`true`, `false`"
        patterns = (PATTERNS[p] for p in PATTERNS if field.get("pattern", "").startswith(p))
        return next(patterns, "text")

    def _default(self, field: Schema) -> str:
        value = field.get("default")
        if self._blocks(field) and isinstance(value, dict):
            return _code(value["name"]) if "name" in value else "its defaults"
        if isinstance(value, list) and value:
            return ", ".join(_code(v) for v in value)
        return _code(value) if value not in (None, {}, [], "") else "none"


def _reserved_arguments(level: int) -> Iterator[str]:
    """Yield the table of SFTConfig's arguments that the workflow sets itself, by reason."""
    yield f"{'#' * level} Reserved arguments\n"
    yield "The workflow sets these arguments of SFTConfig itself. Setting one is an error.\n"
    yield "| Argument | Reason |\n|---|---|"
    for reason in dict.fromkeys(RESERVED.values()):
        names = (f"`{name}`" for name, why in RESERVED.items() if why == reason)
        yield f"| {', '.join(names)} | {_cell(reason)} |"
    yield ""


def _values(field: Schema) -> Schema | None:
    """Return the schema of a mapping's values, or None if a field is no typed mapping."""
    values = [*field.get("patternProperties", {}).values(), field.get("additionalProperties")]
    return values[0] if isinstance(values[0], dict) else None


def _title(parent: str, key: str) -> str:
    """Return the heading of a block: its key, with that of its parent where it is nested deeper."""
    return key if parent in ("Top level", "experiments") else f"{parent}: {key}"


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", title.lower())


def _bounds(field: Schema) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    return " and ".join(f"{sign} {field[key]:g}" for key, sign in signs.items() if key in field)


def _code(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _text(text: str) -> str:
    """Return a docstring or a description as Markdown, with links to arXiv."""
    text = " ".join(text.replace("``", "`").split())
    return re.sub(r"arXiv[: ](\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
