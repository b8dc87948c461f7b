"""Blocks that say how a data set is cut into clients.

Names and parameters are those of Flower Datasets' partitioners, but for ``column``, which is
``partition_by`` there.
"""

from typing import Annotated, Any, Literal

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
    """A data set cut into clients."""

    dataset: Name
    num_partitions: PositiveInt = Field(description="How many clients.")
    label_column: NonEmptyStr | None = Field(
        None,
        description="Column to count by client; by default stratify_by, else the partition's own.",
    )
    min_rows: PositiveInt = Field(1, description="Fewest training rows of a client.")
    validation_size: _HoldoutSize = Field(
        0, description="Rows, or a share, that each client keeps for validation."
    )
    test_size: _HoldoutSize = Field(
        0, description="Rows, or a share, that each client keeps for testing."
    )

    @property
    def is_external(self) -> bool:
        """Whether the clients' rows are not on this machine."""
        return bool(getattr(self, "clients", None))

    @model_validator(mode="after")
    def _require_training_rows(self) -> "Partition":
        shares = [size for size in (self.validation_size, self.test_size) if size < 1]
        if sum(shares) >= 1:
            raise ValueError("validation_size and test_size together leave no rows to train on")
        return self


class IidPartition(Partition):
    """Rows shuffled and dealt out evenly."""

    partitioner: Literal["iid"]


class SizePartition(Partition):
    """Rows shuffled and dealt out in given numbers."""

    partitioner: Literal["size"]
    partition_sizes: _PartitionSizes = Field(description="Rows of each client; all rows together.")

    @model_validator(mode="after")
    def _validate_partition_sizes(self) -> "SizePartition":
        return _require_one_per_client(self, "partition_sizes", self.partition_sizes)


class LinearPartition(Partition):
    """Rows shuffled; client 1 gets one share, client 2 two shares, client 3 three, …"""

    partitioner: Literal["linear"]


class SquarePartition(Partition):
    """Rows shuffled; shares grow with the square of the client's number."""

    partitioner: Literal["square"]


class ExponentialPartition(Partition):
    """Rows shuffled; shares grow exponentially with the client's number."""

    partitioner: Literal["exponential"]


class _ColumnPartition(Partition):
    """A cut that looks at a column."""

    column: NonEmptyStr = Field(description="Column whose values decide.")


class NaturalIdPartition(_ColumnPartition):
    """One client a value of a column."""

    partitioner: Literal["natural_id"]


class GroupedNaturalIdPartition(_ColumnPartition):
    """One client for several values of a column."""

    partitioner: Literal["grouped_natural_id"]
    group_size: PositiveInt = Field(description="Values a client.")
    mode: Literal["allow-smaller", "allow-bigger", "strict"] = Field(
        "allow-smaller", description="What happens where the values cannot be grouped evenly."
    )


class DirichletPartition(_ColumnPartition):
    """Each label's rows shared out by a Dirichlet distribution (arXiv 1905.12022)."""

    partitioner: Literal["dirichlet"]
    alpha: _Alpha = Field(description="Low for skewed labels, high for even ones.")
    self_balancing: bool = Field(
        False, description="No more rows for clients that have their average."
    )

    @model_validator(mode="after")
    def _validate_alpha(self) -> "DirichletPartition":
        return _require_one_per_client(self, "alpha", self.alpha)


class InnerDirichletPartition(_ColumnPartition):
    """Each client draws its labels from a Dirichlet distribution (arXiv 2111.04263)."""

    partitioner: Literal["inner_dirichlet"]
    alpha: _Alpha = Field(description="Low for skewed labels; a list has a number a label.")
    partition_sizes: _PartitionSizes | None = Field(
        None, description="Rows of each client; by default as even as they can be."
    )

    @model_validator(mode="after")
    def _validate_partition_sizes(self) -> "InnerDirichletPartition":
        return _require_one_per_client(self, "partition_sizes", self.partition_sizes)


class DistributionPartition(_ColumnPartition):
    """Labels assigned in turn, in the numbers of a table (arXiv 1812.06127)."""

    partitioner: Literal["distribution"]
    distribution_array: list[list[NonNegativeFloat]] = Field(
        description="A list a label, sorted: weights of the clients that get it."
    )
    num_unique_labels_per_partition: PositiveInt = Field(description="Labels a client.")
    preassigned_num_samples_per_label: NonNegativeInt = Field(
        0, description="Rows of each of its labels that every client gets first."
    )


class ContinuousPartition(_ColumnPartition):
    """Rows sorted by a number and dealt out in that order, more or less strictly."""

    partitioner: Literal["continuous"]
    strictness: Annotated[float, Field(ge=0, le=1), REJECT_BOOL] = Field(
        description="1 for clients of neighbouring values only, 0 for chance."
    )


class PathologicalPartition(_ColumnPartition):
    """Few labels a client (arXiv 2102.02079)."""

    partitioner: Literal["pathological"]
    num_classes_per_partition: PositiveInt = Field(description="Labels a client.")
    class_assignment_mode: Literal["random", "deterministic", "first-deterministic"] = Field(
        "random", description="How labels are given to clients."
    )


class ShardPartition(_ColumnPartition):
    """Rows sorted by label, cut into shards, some shards a client (arXiv 1602.05629)."""

    partitioner: Literal["shard"]
    num_shards_per_partition: PositiveInt | None = Field(None, description="Shards a client.")
    shard_size: PositiveInt | None = Field(None, description="Rows a shard.")

    @model_validator(mode="after")
    def _require_exactly_one_shard_key(self) -> "ShardPartition":
        if (self.num_shards_per_partition is None) == (self.shard_size is None):
            raise ValueError("give one of num_shards_per_partition and shard_size")
        return self


class LocalPartition(Partition):
    """Shards that lie with the clients already: nothing is pooled.

    The data set's block says how files become rows; its own rows are the common test only.
    """

    partitioner: Literal["local"]
    paths: Annotated[dict[Name, NonEmptyStr], Field(min_length=1)] | None = Field(
        None, description="Client to its file, folder or archive on this machine."
    )
    clients: _ClientNames | None = Field(
        None, description="Instead: clients whose rows stay with them, for engine external."
    )
    num_partitions: PositiveInt = Field(
        0, description="How many clients: as many as there are names."
    )

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
        return _require_one_per_client(
            self, "clients" if self.clients else "paths", self.clients or [*self.paths]
        )


def _require_one_per_client(block: Any, key: str, values: Any) -> Any:
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
"""Partitioners of Flower Datasets that have no place here, and why."""
