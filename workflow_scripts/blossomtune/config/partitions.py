"""Define the configuration of partitions.

Names and parameters are those of Flower Datasets' partitioners, except ``column``, which is
``partition_by`` there.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from blossomtune.config.base import (
    REJECT_BOOL,
    Block,
    CountOrFraction,
    Name,
    NonEmptyStr,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    require_unique,
    with_error_message,
)

_HoldoutSize = Annotated[
    Literal[0] | CountOrFraction,
    with_error_message("0, a number of rows, or a share of them below 1"),
]
_Alpha = Annotated[
    PositiveFloat | Annotated[list[PositiveFloat], Field(min_length=1)],
    with_error_message("a number above 0, or a list of them"),
]
_ClientNames = Annotated[
    list[Name],
    Field(min_length=1),
    AfterValidator(require_unique),
    AfterValidator(sorted),  # as the names of paths are
]
_PartitionSizes = Annotated[list[PositiveInt], Field(min_length=1)]


class Partition(Block):
    """A data set assigned to clients."""

    dataset: Name = Field(
        description="A block of `datasets`. Its training rows are assigned to clients."
    )
    num_partitions: PositiveInt = Field(description="Number of clients.")
    label_column: NonEmptyStr | None = Field(
        None,
        description="Column whose values are counted per client for manifest, figure and "
        "report. It does not affect the assignment. The default is `stratify_by` of the test "
        "split, else `column`.",
    )
    min_rows: PositiveInt = Field(
        1,
        description="A client with fewer training rows is an error. `dirichlet` draws again "
        "until all clients have them.",
    )
    validation_size: _HoldoutSize = Field(
        0,
        description="Rows, or a fraction below 1, that each client holds out for evaluation "
        "during training.",
    )
    test_size: _HoldoutSize = Field(
        0,
        description="Rows, or a fraction below 1, that each client holds out for the final "
        "evaluation of its own model.",
    )

    @property
    def is_external(self) -> bool:
        """Return whether the clients keep their rows on their own machines."""
        return bool(getattr(self, "clients", None))

    @model_validator(mode="after")
    def _require_training_rows(self) -> "Partition":
        shares = [size for size in (self.validation_size, self.test_size) if size < 1]
        if sum(shares) >= 1:
            raise ValueError("validation_size and test_size together leave no rows to train on")
        return self


PartitionT = TypeVar("PartitionT", bound=Partition)


class IidPartition(Partition):
    """Rows are shuffled and assigned evenly."""

    partitioner: Literal["iid"]


class SizePartition(Partition):
    """Rows are shuffled and assigned in given numbers."""

    partitioner: Literal["size"]
    partition_sizes: _PartitionSizes = Field(description="Rows per client; together all rows.")

    @model_validator(mode="after")
    def _validate_partition_sizes(self) -> "SizePartition":
        return _require_one_per_client(self, "partition_sizes", self.partition_sizes)


class LinearPartition(Partition):
    """Rows are shuffled; the share of a client grows linearly with its number."""

    partitioner: Literal["linear"]


class SquarePartition(Partition):
    """Rows are shuffled; the share of a client grows with the square of its number."""

    partitioner: Literal["square"]


class ExponentialPartition(Partition):
    """Rows are shuffled; the share of a client grows exponentially with its number."""

    partitioner: Literal["exponential"]


class _ColumnPartition(Partition):
    """A partition by the values of a column."""

    column: NonEmptyStr = Field(
        description="Column that decides; `partition_by` in Flower Datasets."
    )


class NaturalIdPartition(_ColumnPartition):
    """One client per value of a column. `num_partitions` is the number of values."""

    partitioner: Literal["natural_id"]


class GroupedNaturalIdPartition(_ColumnPartition):
    """One client per `group_size` values of a column."""

    partitioner: Literal["grouped_natural_id"]
    group_size: PositiveInt = Field(description="Values per client.")
    mode: Literal["allow-smaller", "allow-bigger", "strict"] = Field(
        "allow-smaller",
        description="If the values cannot be grouped evenly: a smaller last group, bigger "
        "groups, or an error.",
    )


class DirichletPartition(_ColumnPartition):
    """The rows of each label are divided at random among the clients (arXiv 1905.12022)."""

    partitioner: Literal["dirichlet"]
    alpha: _Alpha = Field(
        description="One number, or one per client. 0.1 gives clients of few labels, 100 "
        "nearly the same mix to each."
    )
    self_balancing: bool = Field(
        False, description="Clients that have the average number of rows get no more."
    )

    @model_validator(mode="after")
    def _validate_alpha(self) -> "DirichletPartition":
        return _require_one_per_client(self, "alpha", self.alpha)


class InnerDirichletPartition(_ColumnPartition):
    """Each client draws its own mix of labels (arXiv 2111.04263)."""

    partitioner: Literal["inner_dirichlet"]
    alpha: _Alpha = Field(
        description="One number, or one per label. Low values give clients of few labels."
    )
    partition_sizes: _PartitionSizes | None = Field(
        None, description="Rows per client; together all rows. The default is even."
    )

    @model_validator(mode="after")
    def _validate_partition_sizes(self) -> "InnerDirichletPartition":
        return _require_one_per_client(self, "partition_sizes", self.partition_sizes)


class DistributionPartition(_ColumnPartition):
    """Labels are assigned to clients in turn, in the proportions of a table (arXiv 1812.06127)."""

    partitioner: Literal["distribution"]
    distribution_array: list[list[NonNegativeFloat]] = Field(
        description="One list per label, in sorted order: weights of the clients that get the "
        "label."
    )
    num_unique_labels_per_partition: PositiveInt = Field(description="Labels per client.")
    preassigned_num_samples_per_label: NonNegativeInt = Field(
        0, description="Rows of each of its labels that a client gets before the weights apply."
    )


class ContinuousPartition(_ColumnPartition):
    """Rows are sorted by a numeric column; neighboring values go to the same client."""

    partitioner: Literal["continuous"]
    strictness: Annotated[float, Field(ge=0, le=1), REJECT_BOOL] = Field(
        description="1 keeps the sorted order, 0 assigns at random."
    )


class PathologicalPartition(_ColumnPartition):
    """Each client gets few labels (arXiv 2102.02079)."""

    partitioner: Literal["pathological"]
    num_classes_per_partition: PositiveInt = Field(description="Labels per client.")
    class_assignment_mode: Literal["random", "deterministic", "first-deterministic"] = Field(
        "random", description="How clients get their labels."
    )


class ShardPartition(_ColumnPartition):
    """Rows are sorted by label and split into shards for the clients (arXiv 1602.05629)."""

    partitioner: Literal["shard"]
    num_shards_per_partition: PositiveInt | None = Field(
        None, description="Shards per client. Give this or `shard_size`."
    )
    shard_size: PositiveInt | None = Field(
        None, description="Rows per shard. Give this or `num_shards_per_partition`."
    )

    @model_validator(mode="after")
    def _require_exactly_one_shard_key(self) -> "ShardPartition":
        if (self.num_shards_per_partition is None) == (self.shard_size is None):
            raise ValueError("give one of num_shards_per_partition and shard_size")
        return self


class LocalPartition(Partition):
    """Clients have [shards of their own](own-data.md#shards-that-already-exist).

    Nothing is pooled. The data set's own rows are the common test only.
    """

    partitioner: Literal["local"]
    paths: Annotated[dict[Name, NonEmptyStr], Field(min_length=1)] | None = Field(
        None,
        description="Each client's file, folder, archive or pattern of paths. Give this or "
        "`clients`.",
    )
    clients: _ClientNames | None = Field(
        None,
        description="Names of clients whose rows stay with them, for engine `external`. Give "
        "this or `paths`.",
    )
    num_partitions: PositiveInt = Field(0, description="Number of clients. It may be left out.")

    @model_validator(mode="before")
    @classmethod
    def _set_num_partitions(cls, values: Any) -> Any:
        for key in ("paths", "clients"):
            if isinstance(values, dict) and isinstance(values.get(key), dict | list):
                return {"num_partitions": len(values[key])} | values
        return values

    @model_validator(mode="after")
    def _validate_client_names(self) -> "LocalPartition":
        if (self.paths is None) == (self.clients is None):
            raise ValueError("give one of paths and clients")
        key = "clients" if self.clients else "paths"
        return _require_one_per_client(self, key, self.clients or list(self.paths or ()))


def _require_one_per_client(block: PartitionT, key: str, values: object) -> PartitionT:
    if isinstance(values, list) and len(values) != block.num_partitions:
        raise ValueError(
            f"{key} has {len(values)} entries, but num_partitions is {block.num_partitions}"
        )
    return block


AnyPartition = Annotated[
    IidPartition
    | DirichletPartition
    | InnerDirichletPartition
    | DistributionPartition
    | ContinuousPartition
    | PathologicalPartition
    | ShardPartition
    | SizePartition
    | LinearPartition
    | SquarePartition
    | ExponentialPartition
    | NaturalIdPartition
    | GroupedNaturalIdPartition
    | LocalPartition,
    Field(discriminator="partitioner"),
]

UNSUPPORTED_PARTITIONERS = {
    "vertical_even": "clients would hold different columns of the same rows, and a text cannot be "
    "learnt from a part of it",
    "id_to_size_fnc": "it takes a function, which a configuration cannot hold; linear, square, "
    "exponential and size say the same in numbers",
}
UNSUPPORTED_PARTITIONERS["vertical_size"] = UNSUPPORTED_PARTITIONERS["vertical_even"]
"""Partitioners of Flower Datasets that are not supported, and why."""
