"""TODO docstring."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from blossomtune.config.configuration import Configuration


def _resolve_key_path(loc: Sequence[str | int], raw: Any) -> tuple[str, list[str | int]]:
    """The key's full path as text and as steps.

    Between the keys, pydantic names the member of a union that it tried; those parts are left out,
    also where a member and one of its keys have the same name (`kind: path` has a `path`).
    The last part is kept even where it is not in ``raw``: the key that is missing.
    """
    steps: list[str | int] = []
    at, member = raw, None
    for i, part in enumerate(loc):
        if part == member:
            member = None
            continue
        inside = (
            at.keys() if isinstance(at, Mapping) else range(len(at) if isinstance(at, list) else 0)
        )
        if part in inside:
            at = at[part]
            member = _get_discriminator_value(at) if isinstance(at, Mapping) else None
        elif i < len(loc) - 1 or not isinstance(at, Mapping):
            continue
        steps.append(part)
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".") or "(top level)", steps


def _get_discriminator_value(block: Mapping[str, Any]) -> Any:
    """The member of a union that a block says it is."""
    return next((block[key] for key in ("kind", "partitioner", "name") if key in block), None)


def _list_allowed_keys(path: list[str | int], raw: Any) -> list[str]:
    """The keys that the block at this path may have."""
    model: Any = Configuration
    at = raw
    for step in path:
        at = at.get(step) if isinstance(at, Mapping) else None
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(step))
            model = field.annotation if field else None
        else:
            model = get_args(model)[-1] if get_args(model) else None
        model = _select_union_member(model, at)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return []


def _select_union_member(annotation: Any, value: Any) -> Any:
    """Of a union of blocks, the one that ``value``'s discriminator names."""
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
