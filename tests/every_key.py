"""Every key of the blocks that say what the data are, with two values: for tests of what reruns.

``cases`` fails where a block has a key that is not here.
"""

import typing
from dataclasses import dataclass, field
from typing import Any

from blossomtune.config import partitions as cuts
from blossomtune.config import sources
from blossomtune.config.base import Block
from blossomtune.config.datasets import DatasetSettings, FileFormat, TestSplitSettings
from blossomtune.config.preprocessing import PreprocessingSettings

PATH = {"kind": "path", "path": "own/a.csv"}
HUB = {"kind": "hub", "repo": "owner/name", "revision": "main"}


@dataclass(frozen=True)
class Example:
    """A valid block of a class, and another value of its keys.

    Where a key has no other value alone, ``beside`` has what changes with it.
    """

    block: type[Block]
    given: dict[str, Any]
    others: dict[str, Any]
    beside: dict[str, dict[str, Any]] = field(default_factory=dict)

    def changed(self, key: str) -> dict[str, Any]:
        """The block with another value of a key."""
        return self.given | self.beside.get(key, {}) | {key: self.others[key]}


EXAMPLES = [
    Example(
        sources.HubData,
        HUB,
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
    Example(sources.PathData, PATH, {"path": "own/b.csv", "files": "*.csv", "split": "validation"}),
    Example(
        sources.Mixture,
        {"kind": "mixture", "datasets": ["one", "two"], "weights": [1, 2]},
        {"datasets": ["two", "one"], "weights": None, "until": "all_exhausted"},
    ),
    Example(FileFormat, {"kind": "csv"}, {"kind": "tsv", "columns": ["a", "b"]}),
    Example(TestSplitSettings, {"size": 0.2}, {"size": 3, "stratify_by": "label", "source": HUB}),
    Example(
        DatasetSettings,
        {"source": PATH},
        {
            "source": HUB,
            "format": {"kind": "csv"},
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
            "loss": "last_turn",
            "max_length": 100,
            "too_long": "drop",
            "unrenderable": "drop",
            "packing": True,
        },
    ),
    Example(PreprocessingSettings, {"shape": "messages"}, {"column": "turns"}),
    Example(PreprocessingSettings, {"text": "{{ a }}"}, {"text": "{{ b }}"}),
]


def _cut(block: type[Block], given: dict[str, Any], others: dict[str, Any], **beside: Any) -> None:
    """Adds a partitioner's example: what is its own, and what all partitioners have."""
    shared = {"dataset": "base", "num_partitions": 2} | given
    if "column" in block.model_fields:
        shared["column"], others = "a", others | {"column": "b"}
    name = typing.get_args(block.model_fields["partitioner"].annotation)[0]
    others |= {"dataset": "one", "num_partitions": 3, "label_column": "c", "min_rows": 2}
    others |= {"validation_size": 1, "test_size": 0.1}
    EXAMPLES.append(Example(block, {"partitioner": name} | shared, others, beside))


for simple in (
    cuts.IidPartition,
    cuts.LinearPartition,
    cuts.SquarePartition,
    cuts.ExponentialPartition,
    cuts.NaturalIdPartition,
):
    _cut(simple, {}, {})
_three = {"num_partitions": {"partition_sizes": [1, 2, 3]}}
_cut(cuts.SizePartition, {"partition_sizes": [1, 2]}, {"partition_sizes": [2, 1]}, **_three)
_cut(cuts.GroupedNaturalIdPartition, {"group_size": 2}, {"group_size": 3, "mode": "strict"})
_cut(cuts.DirichletPartition, {"alpha": 1}, {"alpha": 2, "self_balancing": True})
_cut(
    cuts.InnerDirichletPartition,
    {"alpha": 1, "partition_sizes": [1, 2]},
    {"alpha": [1, 2], "partition_sizes": [2, 1]},
    **_three,
)
_cut(
    cuts.DistributionPartition,
    {"distribution_array": [[1, 2]], "num_unique_labels_per_partition": 1},
    {"distribution_array": [[2, 1]], "num_unique_labels_per_partition": 2}
    | {"preassigned_num_samples_per_label": 1},
)
_cut(cuts.ContinuousPartition, {"strictness": 1}, {"strictness": 0.5})
_cut(
    cuts.PathologicalPartition,
    {"num_classes_per_partition": 1},
    {"num_classes_per_partition": 2, "class_assignment_mode": "deterministic"},
)
_cut(
    cuts.ShardPartition,
    {"shard_size": 5},
    {"shard_size": 6, "num_shards_per_partition": 2},
    num_shards_per_partition={"shard_size": None},
)
_cut(
    cuts.LocalPartition,
    {"paths": {"x": "own/a.csv", "y": "own/b.csv"}},
    {"paths": {"x": "own/b.csv", "y": "own/a.csv"}},
    num_partitions={"paths": {"x": "own/a.csv", "y": "own/b.csv", "z": "own/a.csv"}},
)
EXAMPLES.append(
    Example(
        cuts.LocalPartition,
        {"partitioner": "local", "dataset": "base", "clients": ["x", "y"]},
        {"clients": ["x", "z"]},
    )
)


@dataclass(frozen=True)
class Case:
    """A block of a section before and after a change of one key."""

    section: str
    name: str
    before: dict[str, Any]
    after: dict[str, Any]


def classes(annotation: Any) -> set[type[Block]]:
    """All blocks that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        inner = [f.annotation for f in annotation.model_fields.values()]
        return {annotation}.union(*map(classes, inner))
    return set().union(*map(classes, typing.get_args(annotation)))


def cases() -> list[Case]:
    """A case for every key of every block."""
    found = []
    wanted = {
        (block, key)
        for block in classes(DatasetSettings | cuts.AnyPartition | PreprocessingSettings)
        for key in block.model_fields
    }
    for example in EXAMPLES:
        kind = _discriminator(example.block)
        for key in example.others if "clients" in example.given else [*example.others, *kind]:
            wanted.discard((example.block, key))
            after = _another_kind(example) if key in kind else example.changed(key)
            found += _placed(example.block, key, example.given, after)
    assert not wanted, f"two values of each of these keys are missing in {__file__}: {wanted}"
    return found


def _discriminator(block: type[Block]) -> list[str]:
    """The key that says which block this is; it changes together with the block."""
    return [
        k
        for k, f in block.model_fields.items()
        if len(typing.get_args(f.annotation)) == 1
        and typing.get_origin(f.annotation) is typing.Literal
    ]


def _another_kind(example: Example) -> dict[str, Any]:
    if "partitioner" in example.given:
        plain = {"dataset": "base", "num_partitions": 2}
        other = "linear" if example.given["partitioner"] == "iid" else "iid"
        return plain | {"partitioner": other}
    return HUB if example.given["kind"] == "path" else PATH


def _placed(block: type[Block], key: str, before: Any, after: Any) -> list[Case]:
    """Where a block can stand in a configuration."""
    name = f"{block.__name__}-{key}"
    if issubclass(block, cuts.Partition):
        return [Case("partitions", name, before, after)]
    if block is PreprocessingSettings:
        return [Case("preprocessing", name, before, after)]
    if block is DatasetSettings:
        return [Case("datasets", name, before, after)]
    inside = {FileFormat: ["format"], TestSplitSettings: ["test"], sources.Mixture: ["source"]}
    return [
        Case("datasets", f"{place}-{name}", _at(place, before), _at(place, after))
        for place in inside.get(block, ["source", "test.source"])
    ]


def _at(place: str, block: dict[str, Any]) -> dict[str, Any]:
    if place == "test.source":
        return {"source": PATH, "test": {"source": block}}
    return {"source": PATH} | {place: block}


def configuration(*, changed: typing.Container[str] = ()) -> dict[str, Any]:
    """All cases side by side, each with all that stands on it; cases in ``changed`` as after."""
    raw: dict[str, Any] = {
        "run": ["x"],
        "models": {"m": {"source": {"kind": "path", "path": "own"}}},
        "datasets": {name: {"source": PATH} for name in ("base", "one", "two")},
        "partitions": {"base": {"dataset": "base", "partitioner": "iid", "num_partitions": 2}},
        "preprocessing": {"base": {"text": "{{ a }}"}},
        "experiments": {"x": {"model": "m", "partition": "base", "preprocessing": "base"}},
    }
    for case in cases():
        raw[case.section][case.name] = case.after if case.name in changed else case.before
        if case.section == "datasets":
            raw["partitions"][case.name] = raw["partitions"]["base"] | {"dataset": case.name}
    return raw
