"""TODO docstring."""

from collections.abc import Iterable, Mapping
from typing import Any

from blossomtune.errors import find_closest_match


def _format_unknown_reference(
    path: str, value: str, section: str, known_names: Iterable[str]
) -> str:
    names = [str(name) for name in known_names]
    near = find_closest_match(value, names)
    hint = f"did you mean {near!r}? " if near else ""
    listed = ", ".join(names) if names else "none"
    return f"{path}: {value!r} is not a block of {section}; {hint}known: {listed}"


def _get_mapping(raw: Any, *keys: str) -> Mapping[str, Any]:
    """What stands under these keys if it is a block, else an empty one: its fault is told."""
    for key in keys:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw if isinstance(raw, Mapping) else {}


def _find_missing_references(raw: Any) -> Iterable[str]:
    """Faults where a block names another that is not there."""
    named = [("partitions", "dataset", "datasets")]
    named += [("experiments", key, key + "s") for key in ("model", "partition")]
    named += [("experiments", "preprocessing", "preprocessing")]
    run = raw.get("run") if isinstance(raw, Mapping) else None
    names = run if isinstance(run, list) else []
    said = [(f"run[{i}]", name, "experiments") for i, name in enumerate(names)]
    for section, key, of in named:
        for name in _get_mapping(raw, section):
            said.append((f"{section}.{name}.{key}", _get_mapping(raw, section, name).get(key), of))
    for name in _get_mapping(raw, "datasets"):
        source = _get_mapping(raw, "datasets", name, "source")
        members = source.get("datasets") if source.get("kind") == "mixture" else None
        for i, member in enumerate(members if isinstance(members, list) else []):
            said.append((f"datasets.{name}.source.datasets[{i}]", member, "datasets"))
    for path, value, section in said:
        known = _get_mapping(raw, section)
        if isinstance(value, str) and value not in known:
            yield _format_unknown_reference(path, value, section, known)
