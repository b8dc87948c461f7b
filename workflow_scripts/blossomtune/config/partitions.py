"""Blocks that say how a data set is cut into clients.

Names and parameters are those of Flower Datasets' partitioners, but for ``column``, which is
``partition_by`` there.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from blossomtune.config.base import (
    NUMBER,
    Above0,
    AtLeast0,
    Block,
    Count,
    Name,
    Size,
    Text,
    Whole,
    distinct,
    in_words,
)

_Held = Annotated[
    Literal[0] | Size,
    in_words("0, a number of rows, or a share of them below 1"),
]
_Alpha = Annotated[
    Above0 | Annotated[list[Above0], Field(min_length=1)],
    in_words("a number above 0, or a list of them"),
]
_Clients = Annotated[
    list[Name],
    Field(min_length=1),
    AfterValidator(distinct),
    AfterValidator(sorted),  # as the names of paths are
]
_Sizes = Annotated[list[Count], Field(min_length=1)]


class Partition(Block):
    """A data set cut into clients."""

    dataset: Name
    num_partitions: Count = Field(description="How many clients.")
    label_column: Text | None = Field(
        None,
        description="Column to count by client; by default stratify_by, else the partition's own.",
    )
    min_rows: Count = Field(1, description="Fewest training rows of a client.")
    validation_size: _Held = Field(
        0, description="Rows, or a share, that each client keeps for validation."
    )
    test_size: _Held = Field(0, description="Rows, or a share, that each client keeps for testing.")

    @property
    def elsewhere(self) -> bool:
        """Whether the clients' rows are not on this machine."""
        return bool(getattr(self, "clients", None))

    @model_validator(mode="after")
    def _rows_to_train_on(self) -> "Partition":
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
    partition_sizes: _Sizes = Field(description="Rows of each client; all rows together.")

    @model_validator(mode="after")
    def _a_size_each(self) -> "SizePartition":
        return _one_each(self, "partition_sizes", self.partition_sizes)


class LinearPartition(Partition):
    """Rows shuffled; client 1 gets one share, client 2 two shares, client 3 three, …"""

    partitioner: Literal["linear"]


class SquarePartition(Partition):
    """Rows shuffled; shares grow with the square of the client's number."""

    partitioner: Literal["square"]


class ExponentialPartition(Partition):
    """Rows shuffled; shares grow exponentially with the client's number."""

    partitioner: Literal["exponential"]


class _ByColumn(Partition):
    """A cut that looks at a column."""

    column: Text = Field(description="Column whose values decide.")


class NaturalIdPartition(_ByColumn):
    """One client a value of a column."""

    partitioner: Literal["natural_id"]


class GroupedNaturalIdPartition(_ByColumn):
    """One client for several values of a column."""

    partitioner: Literal["grouped_natural_id"]
    group_size: Count = Field(description="Values a client.")
    mode: Literal["allow-smaller", "allow-bigger", "strict"] = Field(
        "allow-smaller", description="What happens where the values cannot be grouped evenly."
    )


class DirichletPartition(_ByColumn):
    """Each label's rows shared out by a Dirichlet distribution (arXiv 1905.12022)."""

    partitioner: Literal["dirichlet"]
    alpha: _Alpha = Field(description="Low for skewed labels, high for even ones.")
    self_balancing: bool = Field(
        False, description="No more rows for clients that have their average."
    )

    @model_validator(mode="after")
    def _an_alpha_each(self) -> "DirichletPartition":
        return _one_each(self, "alpha", self.alpha)


class InnerDirichletPartition(_ByColumn):
    """Each client draws its labels from a Dirichlet distribution (arXiv 2111.04263)."""

    partitioner: Literal["inner_dirichlet"]
    alpha: _Alpha = Field(description="Low for skewed labels; a list has a number a label.")
    partition_sizes: _Sizes | None = Field(
        None, description="Rows of each client; by default as even as they can be."
    )

    @model_validator(mode="after")
    def _a_size_each(self) -> "InnerDirichletPartition":
        return _one_each(self, "partition_sizes", self.partition_sizes)


class DistributionPartition(_ByColumn):
    """Labels assigned in turn, in the numbers of a table (arXiv 1812.06127)."""

    partitioner: Literal["distribution"]
    distribution_array: list[list[AtLeast0]] = Field(
        description="A list a label, sorted: weights of the clients that get it."
    )
    num_unique_labels_per_partition: Count = Field(description="Labels a client.")
    preassigned_num_samples_per_label: Whole = Field(
        0, description="Rows of each of its labels that every client gets first."
    )


class ContinuousPartition(_ByColumn):
    """Rows sorted by a number and dealt out in that order, more or less strictly."""

    partitioner: Literal["continuous"]
    strictness: Annotated[float, Field(ge=0, le=1), NUMBER] = Field(
        description="1 for clients of neighbouring values only, 0 for chance."
    )


class PathologicalPartition(_ByColumn):
    """Few labels a client (arXiv 2102.02079)."""

    partitioner: Literal["pathological"]
    num_classes_per_partition: Count = Field(description="Labels a client.")
    class_assignment_mode: Literal["random", "deterministic", "first-deterministic"] = Field(
        "random", description="How labels are given to clients."
    )


class ShardPartition(_ByColumn):
    """Rows sorted by label, cut into shards, some shards a client (arXiv 1602.05629)."""

    partitioner: Literal["shard"]
    num_shards_per_partition: Count | None = Field(None, description="Shards a client.")
    shard_size: Count | None = Field(None, description="Rows a shard.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "ShardPartition":
        if (self.num_shards_per_partition is None) == (self.shard_size is None):
            raise ValueError("give one of num_shards_per_partition and shard_size")
        return self


class LocalPartition(Partition):
    """Shards that lie with the clients already: nothing is pooled.

    The data set's block says how files become rows; its own rows are the common test only.
    """

    partitioner: Literal["local"]
    paths: Annotated[dict[Name, Text], Field(min_length=1)] | None = Field(
        None, description="Client to its file, folder or archive on this machine."
    )
    clients: _Clients | None = Field(
        None, description="Instead: clients whose rows stay with them, for engine external."
    )
    num_partitions: Count = Field(0, description="How many clients: as many as there are names.")

    @model_validator(mode="before")
    @classmethod
    def _count_clients(cls, given: Any) -> Any:
        for key in ("paths", "clients"):
            if isinstance(given, dict) and isinstance(given.get(key), dict | list):
                return {"num_partitions": len(given[key])} | given
        return given

    @model_validator(mode="after")
    def _named_once(self) -> "LocalPartition":
        if (self.paths is None) == (self.clients is None):
            raise ValueError("give one of paths and clients")
        return _one_each(
            self, "clients" if self.clients else "paths", self.clients or [*self.paths]
        )


def _one_each(block: Any, key: str, values: Any) -> Any:
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

REFUSED = {
    "vertical_even": "clients would hold different columns of the same rows, and a text cannot be "
    "learnt from a part of it",
    "id_to_size_fnc": "it takes a function, which a configuration cannot hold; linear, square, "
    "exponential and size say the same in numbers",
}
REFUSED["vertical_size"] = REFUSED["vertical_even"]
"""Partitioners of Flower Datasets that have no place here, and why."""
