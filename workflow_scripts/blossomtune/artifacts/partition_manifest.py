"""TODO docstring."""

from pydantic import BaseModel


class ClientPartition(BaseModel):
    """One client's part of a data set; labels are counted over its training rows.

    Of a client whose rows are elsewhere nothing is known but its name.
    """

    client: int
    name: str
    rows: int | None
    validation: int | None
    test: int | None
    labels: dict[str, int] | None
    distance: float | None


class PartitionManifest(BaseModel):
    """How a data set was cut into clients; labels are counted over all of its rows."""

    partitioner: str
    column: str | None
    label_column: str | None
    labels: dict[str, int] | None
    clients: list[ClientPartition]

    @property
    def has_external_clients(self) -> bool:
        """Whether the clients' rows are with them, and unknown here."""
        return any(share.rows is None for share in self.clients)
