"""Resolve the key paths of pydantic's errors."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from blossomtune.config.configuration import Configuration


def resolve_key_path(loc: Sequence[str | int], raw: Any) -> tuple[str, list[str | int]]:
    """Return a key's full path, as text and as steps.

    Pydantic's location also names the members of unions that it tried. These parts are removed,
    even if a member and one of its keys have the same name (`kind: path` has a `path`).
    The last part is kept if it is not in ``raw``: it is the missing key.

    Args:
        loc: Location of a pydantic error.
        raw: Nested dictionaries as YAML has them.

    Returns:
        The path as in ``a.b[0]``, and its keys and indices.
    """
    steps: list[str | int] = []
    node, member = raw, None
    for i, part in enumerate(loc):
        if part == member:
            member = None
            continue
        if isinstance(node, Mapping):
            keys: Collection[Any] = node.keys()
        else:
            keys = range(len(node)) if isinstance(node, list) else ()
        if part in keys:
            node = node[part]
            member = _get_discriminator_value(node) if isinstance(node, Mapping) else None
        elif i < len(loc) - 1 or not isinstance(node, Mapping):
            continue
        steps.append(part)
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".") or "(top level)", steps


def _get_discriminator_value(block: Mapping[str, Any]) -> Any:
    """Return the member of a union that a block selects."""
    return next((block[key] for key in ("kind", "partitioner", "name") if key in block), None)


def list_allowed_keys(path: list[str | int], raw: Any) -> list[str]:
    """Return the keys that are allowed in the block at a path.

    Args:
        path: Steps from the top level to the block.
        raw: Nested dictionaries as YAML has them.

    Returns:
        Keys in the order of the schema; empty if the path leads to no block.
    """
    model: Any = Configuration
    node = raw
    for step in path:
        node = node.get(step) if isinstance(node, Mapping) else None
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(step))
            model = field.annotation if field else None
        else:
            model = get_args(model)[-1] if get_args(model) else None
        model = _select_union_member(model, node)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return []


def _select_union_member(annotation: Any, value: Any) -> Any:
    """Return the block class of a union that the discriminator of ``value`` selects."""
    candidates = [
        a
        for a in _flatten_annotation(annotation)
        if isinstance(a, type) and issubclass(a, BaseModel)
    ]
    for candidate in candidates:
        for key, field in candidate.model_fields.items():
            if isinstance(value, Mapping) and value.get(key) in get_args(field.annotation):
                return candidate
    return candidates[0] if len(candidates) == 1 else annotation


def _flatten_annotation(annotation: Any) -> list[Any]:
    if getattr(annotation, "__origin__", None) is dict:
        return []
    inner = get_args(annotation)
    return [annotation, *(a for i in inner for a in _flatten_annotation(i))]
