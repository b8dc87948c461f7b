"""Build a federation's specification from configuration and manifests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.partition_manifest import PartitionManifest
from blossomtune.artifacts.provenance import Provenance
from blossomtune.artifacts.tokenized_manifest import TokenizedManifest
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.errors import UserError
from blossomtune.federation.spec import ClientSpec, FederationSpec
from blossomtune.training import schedule
from blossomtune.training.ranks import resolve_client_ranks


def build_spec(
    config: dict[str, Any], model: Path, partition: Path, preprocessed: Path
) -> FederationSpec:
    """Build the specification of a federation.

    Args:
        config: Result of ``blossomtune.config.stage_inputs.federate``.
        model: Directory of the base model, with its provenance.
        partition: Directory of the partition, with its manifest.
        preprocessed: Directory of the tokenized rows, with their manifest.

    Returns:
        The specification, with rows and ranks of all clients.

    Raises:
        UserError: If the ranks' column has no single value for a client, or if ADOPT would take
            only one step with a client's rows.
    """
    provenance = read_artifact(model / "provenance.json", Provenance)
    tokenized = read_artifact(preprocessed / "manifest.json", TokenizedManifest)
    counts = {client.client: client for client in tokenized.clients}
    validation = {held.client: held.validation for held in tokenized.held_out}
    names = read_artifact(partition / "manifest.json", PartitionManifest).client_names
    ranks = resolve_client_ranks(LoraSettings.model_validate(config["lora"]), partition, names)
    clients = [
        ClientSpec(
            name=name,
            rank=rank,
            num_rows=counts[i].num_examples if i in counts else 0,
            num_examples=counts[i].rows if i in counts else 0,
            num_validation_rows=held.rows if (held := validation.get(i)) else None,
        )
        for i, (name, rank) in enumerate(zip(names, ranks, strict=True))
    ]
    require_two_adopt_steps(TrainingSettings.model_validate(config["training"]), clients)
    return FederationSpec(
        clients=tuple(clients),
        base_model_name=provenance.get_repository(default=model.name),
        max_length=tokenized.max_length,
        packing=tokenized.packing,
        **config,
    )


def require_two_adopt_steps(training: TrainingSettings, clients: Sequence[ClientSpec]) -> None:
    """Raise if ADOPT would take one step per round, because its first step only measures.

    Args:
        training: The experiment's training block.
        clients: The clients.

    Raises:
        UserError: If a client takes one step in a round.
    """
    if training.arguments.get("optim") != "adopt" or training.optimizer_state == "kept":
        return
    for number, client in enumerate(clients):
        if client.num_rows and schedule.count_local_steps(training, client.num_rows) == 1:
            raise UserError(
                f"training.arguments.optim: adopt: client {number} ({client.name}) takes one step "
                f"in a round, with {client.num_rows} rows, and the first step of adopt only "
                "measures",
                "take more local epochs or smaller batches, or use optimizer_state: kept",
            )
