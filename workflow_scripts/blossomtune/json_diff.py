"""Describe the differences of two JSON values."""

from collections.abc import Mapping
from typing import Any

from blossomtune.errors import abbreviate


def diff_json(old: Any, new: Any, path: str = "") -> list[str]:
    """Return one line per difference: ``key.key: value, now value``, in the order of the keys.

    Args:
        old: JSON value before.
        new: JSON value now.
        path: Keys that lead to both, joined by dots.

    Returns:
        Lines; empty if the values are equal.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys([*new, *old])
        inner = [(k, old.get(k), new.get(k)) for k in keys]
        return [d for k, a, b in inner for d in diff_json(a, b, f"{path}.{k}" if path else k)]
    return [] if old == new else [f"{path}: {abbreviate(old, 40)}, now {abbreviate(new, 40)}"]
