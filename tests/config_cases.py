"""List two values of every key of the data blocks, for tests of what reruns.

``build_cases`` fails if a key of a block is missing here.
"""

import typing
from dataclasses import dataclass, field
from typing import Any

from blossomtune.config import partitions, sources
from blossomtune.config.base import Block
from blossomtune.config.datasets import DatasetSettings, TestSplitSettings
from blossomtune.config.file_format import FileFormat
from blossomtune.config.preprocessing import PreprocessingSettings

PATH_SOURCE = {"kind": "path", "path": "own/a.csv"}
HUB_SOURCE = {"kind": "hub", "repo": "owner/name", "revision": "main"}


@dataclass(frozen=True)
class Example:
    """A valid block, and another value of each of its keys.

    Attributes:
        block_type: Class of the block.
        values: The block's keys and values.
        new_values: Another valid value per key.
        dependent_values: Per key, other keys that have to change together with it.
    """

    block_type: type[Block]
    values: dict[str, Any]
    new_values: dict[str, Any]
    dependent_values: dict[str, dict[str, Any]] = field(default_factory=dict)

    def with_change(self, key: str) -> dict[str, Any]:
        """Return the block with another value of one key."""
        return self.values | self.dependent_values.get(key, {}) | {key: self.new_values[key]}


EXAMPLES = [
    Example(
        sources.HubData,
        HUB_SOURCE,
        {"repo": "a/b", "revision": "v2", "subset": "en", "split": "validation", "rows": 10},
    ),
    Example(
        sources.PypiData,
        {"kind": "pypi", "package": "p", "version": "1"},
        {"package": "q", "version": "2", "distribution": "sdist", "sha256": "a" * 64}
        | {"files": "*.csv"},
    ),
    Example(
        sources.UrlData,
        {"kind": "url", "url": "https://example.org/a", "sha256": "a" * 64},
        {"url": "https://example.org/b", "sha256": "b" * 64, "files": "*.csv"},
    ),
    Example(
        sources.PathData,
        PATH_SOURCE,
        {"path": "own/b.csv", "files": "*.csv", "split": "validation"},
    ),
    Example(
        sources.Mixture,
        {"kind": "mixture", "datasets": ["one", "two"], "weights": [1, 2]},
        {"datasets": ["two", "one"], "weights": None, "until": "all_exhausted"},
    ),
    Example(
        FileFormat,
        {"kind": "csv"},
        {"kind": "tsv", "columns": ["a", "b"], "delimiter": ";", "quotechar": "none"}
        | {"encoding": "cp1252"},
    ),
    Example(FileFormat, {"kind": "text"}, {"rows": "paragraph"}),
    Example(FileFormat, {"kind": "xlsx"}, {"sheet": "Data"}),
    Example(FileFormat, {"kind": "jsonl"}, {"on_bad_line": "skip"}),
    Example(
        TestSplitSettings, {"size": 0.2}, {"size": 3, "stratify_by": "label", "source": HUB_SOURCE}
    ),
    Example(
        DatasetSettings,
        {"source": PATH_SOURCE},
        {
            "source": HUB_SOURCE,
            "format": {"kind": "csv"},
            "class_labels": "numbers",
            "rename": {"a": "b"},
            "derive": {"c": "{{ a }}"},
            "filter": "a > 1",
            "columns": ["a"],
            "deduplicate_by": ["a"],
            "deduplicate_as": "normalised",
            "shuffle_seed": 1,
            "limit": 5,
            "test": {"size": 0.3},
            "licence": "MIT",
        },
    ),
    Example(
        PreprocessingSettings,
        {"prompt": "{{ a }}", "completion": "{{ b }}"},
        {
            "shape": "prompt_completion",
            "system": "Be brief.",
            "prompt": "{{ a }}?",
            "completion": "{{ b }}!",
            "ignore_columns": ["history"],
            "loss": "last_turn",
            "chat_template_arguments": {"enable_thinking": False},
            "system_role": "fold",
            "control_tokens": "text",
            "prompt_mismatch": "warn",
            "max_length": 100,
            "too_long": "drop",
            "unrenderable": "drop",
            "leaks": "error",
            "packing": True,
        },
    ),
    Example(PreprocessingSettings, {"shape": "messages"}, {"column": "turns"}),
    Example(PreprocessingSettings, {"text": "{{ a }}"}, {"text": "{{ b }}"}),
]


def _add_partition(
    block_type: type[Block],
    values: dict[str, Any],
    new_values: dict[str, Any],
    **dependent_values: Any,
) -> None:
    """Add the example of a partitioner; keys of all partitioners are filled in."""
    values = {"dataset": "base", "num_partitions": 2} | values
    if "column" in block_type.model_fields:
        values["column"], new_values = "a", new_values | {"column": "b"}
    name = typing.get_args(block_type.model_fields["partitioner"].annotation)[0]
    new_values |= {"dataset": "one", "num_partitions": 3, "label_column": "c", "min_rows": 2}
    new_values |= {"validation_size": 1, "test_size": 0.1}
    EXAMPLES.append(
        Example(block_type, {"partitioner": name} | values, new_values, dependent_values)
    )


for block_type in (
    partitions.IidPartition,
    partitions.LinearPartition,
    partitions.SquarePartition,
    partitions.ExponentialPartition,
    partitions.NaturalIdPartition,
):
    _add_partition(block_type, {}, {})
_three = {"num_partitions": {"partition_sizes": [1, 2, 3]}}
_add_partition(
    partitions.SizePartition, {"partition_sizes": [1, 2]}, {"partition_sizes": [2, 1]}, **_three
)
_add_partition(
    partitions.GroupedNaturalIdPartition, {"group_size": 2}, {"group_size": 3, "mode": "strict"}
)
_add_partition(partitions.DirichletPartition, {"alpha": 1}, {"alpha": 2, "self_balancing": True})
_add_partition(
    partitions.InnerDirichletPartition,
    {"alpha": 1, "partition_sizes": [1, 2]},
    {"alpha": [1, 2], "partition_sizes": [2, 1]},
    **_three,
)
_add_partition(
    partitions.DistributionPartition,
    {"distribution_array": [[1, 2]], "num_unique_labels_per_partition": 1},
    {"distribution_array": [[2, 1]], "num_unique_labels_per_partition": 2}
    | {"preassigned_num_samples_per_label": 1},
)
_add_partition(partitions.ContinuousPartition, {"strictness": 1}, {"strictness": 0.5})
_add_partition(
    partitions.PathologicalPartition,
    {"num_classes_per_partition": 1},
    {"num_classes_per_partition": 2, "class_assignment_mode": "deterministic"},
)
_add_partition(
    partitions.ShardPartition,
    {"shard_size": 5},
    {"shard_size": 6, "num_shards_per_partition": 2},
    num_shards_per_partition={"shard_size": None},
)
_add_partition(
    partitions.LocalPartition,
    {"paths": {"x": "own/a.csv", "y": "own/b.csv"}},
    {"paths": {"x": "own/b.csv", "y": "own/a.csv"}},
    num_partitions={"paths": {"x": "own/a.csv", "y": "own/b.csv", "z": "own/a.csv"}},
)
EXAMPLES.append(
    Example(
        partitions.LocalPartition,
        {"partitioner": "local", "dataset": "base", "clients": ["x", "y"]},
        {"clients": ["x", "z"]},
    )
)


@dataclass(frozen=True)
class Case:
    """A block of a section before and after one key changes."""

    section: str
    name: str
    before: dict[str, Any]
    after: dict[str, Any]


def collect_block_types(annotation: Any) -> set[type[Block]]:
    """Return all block classes in a type annotation, nested ones included."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        inner = [f.annotation for f in annotation.model_fields.values()]
        return {annotation}.union(*map(collect_block_types, inner))
    return set().union(*map(collect_block_types, typing.get_args(annotation)))


def build_cases() -> list[Case]:
    """Return one case per key of every data block."""
    cases = []
    missing = {
        (block, key)
        for block in collect_block_types(
            DatasetSettings | partitions.AnyPartition | PreprocessingSettings
        )
        for key in block.model_fields
    }
    for example in EXAMPLES:
        kinds = [] if "clients" in example.values else _list_discriminators(example.block_type)
        for key in [*example.new_values, *kinds]:
            missing.discard((example.block_type, key))
            after = _change_kind(example) if key in kinds else example.with_change(key)
            cases += _place(example.block_type, key, example.values, after)
    assert not missing, f"two values of each of these keys are missing in {__file__}: {missing}"
    return cases


def _list_discriminators(block_type: type[Block]) -> list[str]:
    """Return the keys with a single allowed value, which change together with the class."""
    return [
        k
        for k, f in block_type.model_fields.items()
        if len(typing.get_args(f.annotation)) == 1
        and typing.get_origin(f.annotation) is typing.Literal
    ]


def _change_kind(example: Example) -> dict[str, Any]:
    if "partitioner" in example.values:
        other = "linear" if example.values["partitioner"] == "iid" else "iid"
        return {"dataset": "base", "num_partitions": 2, "partitioner": other}
    return HUB_SOURCE if example.values["kind"] == "path" else PATH_SOURCE


def _place(block_type: type[Block], key: str, before: Any, after: Any) -> list[Case]:
    """Return one case per place of a configuration where the block is allowed."""
    name = f"{block_type.__name__}-{key}"
    if issubclass(block_type, partitions.Partition):
        return [Case("partitions", name, before, after)]
    if block_type is PreprocessingSettings:
        return [Case("preprocessing", name, before, after)]
    if block_type is DatasetSettings:
        return [Case("datasets", name, before, after)]
    places = {FileFormat: ["format"], TestSplitSettings: ["test"], sources.Mixture: ["source"]}
    return [
        Case("datasets", f"{place}-{name}", _nest(place, before), _nest(place, after))
        for place in places.get(block_type, ["source", "test.source"])
    ]


def _nest(place: str, block: dict[str, Any]) -> dict[str, Any]:
    if place == "test.source":
        return {"source": PATH_SOURCE, "test": {"source": block}}
    return {"source": PATH_SOURCE} | {place: block}


def build_configuration(*, changed: typing.Container[str] = ()) -> dict[str, Any]:
    """Return a configuration with the blocks of all cases and a partition per data set.

    Args:
        changed: Names of the cases that are set to their values after the change.
    """
    raw: dict[str, Any] = {
        "run": ["x"],
        "models": {"m": {"source": {"kind": "path", "path": "own"}}},
        "datasets": {name: {"source": PATH_SOURCE} for name in ("base", "one", "two")},
        "partitions": {"base": {"dataset": "base", "partitioner": "iid", "num_partitions": 2}},
        "preprocessing": {"base": {"text": "{{ a }}"}},
        "experiments": {"x": {"model": "m", "partition": "base", "preprocessing": "base"}},
    }
    for case in build_cases():
        raw[case.section][case.name] = case.after if case.name in changed else case.before
        if case.section == "datasets":
            raw["partitions"][case.name] = raw["partitions"]["base"] | {"dataset": case.name}
    return raw
