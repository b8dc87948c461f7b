"""Find references to blocks that do not exist."""

from collections.abc import Iterable, Iterator, Mapping
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


def get_mapping(raw: Any, *keys: str) -> Mapping[Any, Any]:
    """Return the block below some keys, or an empty one if it is missing or no block.

    Args:
        raw: Nested dictionaries as YAML has them; not validated.
        *keys: Keys that lead to the block.

    Returns:
        The block as YAML has it.
    """
    for key in keys:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw if isinstance(raw, Mapping) else {}


_REFERENCES = (
    ("partitions", "dataset", "datasets"),
    ("experiments", "model", "models"),
    ("experiments", "partition", "partitions"),
    ("experiments", "preprocessing", "preprocessing"),
)
"""Section, its key that names a block, and the section of that block."""


def find_missing_references(raw: Any) -> Iterator[str]:
    """Yield one message per reference to a block that does not exist."""
    run = raw.get("run") if isinstance(raw, Mapping) else None
    names = run if isinstance(run, list) else []
    references: list[tuple[str, Any, str]] = [
        (f"run[{i}]", name, "experiments") for i, name in enumerate(names)
    ]
    for section, key, target in _REFERENCES:
        for name in get_mapping(raw, section):
            value = get_mapping(raw, section, name).get(key)
            references.append((f"{section}.{name}.{key}", value, target))
    for name in get_mapping(raw, "datasets"):
        source = get_mapping(raw, "datasets", name, "source")
        members = source.get("datasets") if source.get("kind") == "mixture" else None
        for i, member in enumerate(members if isinstance(members, list) else []):
            references.append((f"datasets.{name}.source.datasets[{i}]", member, "datasets"))
    for name in get_mapping(raw, "experiments"):
        benchmarks = get_mapping(raw, "experiments", name, "evaluation").get("benchmarks")
        for i, benchmark in enumerate(benchmarks if isinstance(benchmarks, list) else []):
            dataset = get_mapping(benchmark).get("dataset")
            path = f"experiments.{name}.evaluation.benchmarks[{i}].dataset"
            references.append((path, dataset, "datasets"))
    for path, value, section in references:
        known = get_mapping(raw, section)
        if isinstance(value, str) and value not in known:
            yield _format_unknown_reference(path, value, section, known)
