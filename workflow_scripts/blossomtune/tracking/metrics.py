"""Turn the record of a round into metrics for trackers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from blossomtune.artifacts.round_record import RoundRecord

MAX_NAME = 60
"""Characters of a client's name in the name of a metric; MLflow allows 250 for all of it."""


def compute_metrics(record: RoundRecord) -> dict[str, float]:
    """Return all numbers of a round by name, such as ``clients/0_anna/train_loss``.

    Args:
        record: Record of the round.

    Returns:
        Values by name; ``round`` is the last one, so whoever has it has all.
    """
    values = record.model_dump(mode="json")
    number = values.pop("round")
    return {name: float(value) for name, value in _flatten("", values)} | {"round": float(number)}


def _flatten(path: str, value: Any) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a JSON value, by their path."""
    if isinstance(value, int | float):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key != "client":  # the path has it
                yield from _flatten(f"{path}/{key}".lstrip("/"), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _flatten(f"{path}/{_name_item(index, inner)}", inner)


def _name_item(index: int, item: Any) -> str:
    """Name an item of a list: a client by index and name, in characters that all trackers allow."""
    name = f"{item.get('client', index)}_{item['name']}" if "name" in item else str(index)
    return re.sub(r"[^\w.-]+", "_", name)[:MAX_NAME]
