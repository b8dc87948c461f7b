"""Specification of a federation: what is trained, by which clients, and how."""

from pydantic import BaseModel, ConfigDict

from blossomtune.config.conflicts import BASE_UPDATING_AGGREGATIONS
from blossomtune.config.federation import FederationSettings
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings


class ClientSpec(BaseModel):
    """One client of a federation.

    Attributes:
        name: The client's name.
        num_rows: Number of tokenized training rows; 0 if another organization holds the rows.
        rank: Rank of the client's adapter.
        num_examples: Number of examples in the rows, which packing fills with several.
        num_validation_rows: Number of validation rows; None if another organization holds them.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    num_rows: int
    rank: int
    num_examples: int = 0
    num_validation_rows: int | None = None


class FederationSpec(BaseModel):
    """Everything that determines the trained adapter, except the contents of files.

    Attributes:
        seed: The configuration's seed.
        lora: The experiment's adapter block.
        training: The experiment's training block.
        federation: The experiment's federation block.
        clients: The clients, by number.
        base_model_name: Name of the base model, as the adapter's files state it.
        max_length: Largest number of tokens of a row.
        packing: Whether a row may have several examples.
    """

    model_config = ConfigDict(frozen=True)

    seed: int
    lora: LoraSettings
    training: TrainingSettings
    federation: FederationSettings
    clients: tuple[ClientSpec, ...]
    base_model_name: str
    max_length: int
    packing: bool = False

    def __hash__(self) -> int:  # pydantic's own fails on the dictionary `training.arguments`
        return hash(self.model_dump_json())

    @property
    def has_client_state(self) -> bool:
        """Return whether clients keep state between rounds."""
        federation = self.federation
        return (
            self.training.optimizer_state == "kept"
            or federation.strategy.name == "scaffold"
            or federation.communication.precision == "int8"
            or federation.aggregation in BASE_UPDATING_AGGREGATIONS
        )

    def redact_for_clients(self) -> "FederationSpec":
        """Return a copy without the path of the server's privacy secret."""
        privacy = self.federation.privacy
        if privacy is None:
            return self
        redacted = privacy.model_copy(update={"secret": None})
        federation = self.federation.model_copy(update={"privacy": redacted})
        return self.model_copy(update={"federation": federation})
