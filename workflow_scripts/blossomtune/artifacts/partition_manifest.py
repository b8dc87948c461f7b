"""manifest.json of a partition."""

from blossomtune.artifacts.base import Artifact, Part
from blossomtune.artifacts.dataset_manifest import ClassLabels
from blossomtune.artifacts.file_reading import FileReading
from blossomtune.artifacts.origin import Origin


class ClientPartition(Part):
    """One client's rows. All counts are None for an external client.

    Attributes:
        client: index of the client.
        name: its name.
        rows: training rows.
        validation: rows of the validation split.
        test: rows of the client's own test split.
        labels: training rows by label; None without a label column.
        tokens: estimated tokens of the training rows.
        distance: Jensen–Shannon distance in [0, 1] from the labels of the whole data set.
        readings: how the client's own files were read; None if its rows are of the data set.
        sha256: digest of the file of training rows.
        files: SHA-256 by file name.
    """

    client: int
    name: str
    rows: int | None = None
    validation: int | None = None
    test: int | None = None
    labels: dict[str, int] | None = None
    tokens: int | None = None
    distance: float | None = None
    readings: list[FileReading] | None = None
    sha256: str | None = None
    files: dict[str, str]


class PartitionManifest(Artifact):
    """Assignment of a data set's rows to clients.

    Attributes:
        partitioner: name of the method.
        column: column that the method reads, if any.
        label_column: column whose values are counted, if any.
        seed: seed of the partition.
        dataset: origin of the data set.
        class_labels: columns of the data set whose classes have names.
        labels: rows by label, of all clients and splits; None without a label column.
        clients: one entry per client, in order.
    """

    partitioner: str
    column: str | None
    label_column: str | None
    seed: int
    dataset: Origin
    class_labels: list[ClassLabels]
    labels: dict[str, int] | None
    clients: list[ClientPartition]

    @property
    def has_external_clients(self) -> bool:
        """True if clients prepare rows that are unknown here."""
        return any(client.rows is None for client in self.clients)

    @property
    def client_names(self) -> list[str]:
        """Names of all clients, in order."""
        return [client.name for client in self.clients]

    @property
    def local_clients(self) -> list[int]:
        """Indices of the clients whose rows are here."""
        return [client.client for client in self.clients if client.rows is not None]
