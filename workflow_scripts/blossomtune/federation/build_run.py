"""TODO docstring."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.errors import UserError
from blossomtune.federation.job import ClientSpec, FederatedRun
from blossomtune.files import read_json
from blossomtune.training import schedule
from blossomtune.training.ranks import resolve_client_ranks


def build_run(config: dict[str, Any], model: Path, partition: Path, **fields: Any) -> FederatedRun:
    """A job from a stage's configuration and the directories that it was given.

    Args:
        config: what ``blossomtune.config.stage_inputs.federate`` returned.
        model: a model directory, with the provenance that fetch_model wrote.
        partition: a partition's directory, for its clients' names and columns.
        files: the remaining fields of ``Job``.

    Raises:
        UserError: where the column that ranks go by does not say one for a client, or where a
            client's rows are too few for ADOPT.
    """
    source = read_json(model / "provenance.json")["source"]
    counts = read_json(fields["preprocessed"] / "manifest.json")["clients"]
    rows = {c["client"]: c["rows"] if c["packed"] is None else c["packed"] for c in counts}
    names = [c["name"] for c in read_json(partition / "manifest.json")["clients"]]
    ranks = resolve_client_ranks(LoraSettings.model_validate(config["lora"]), partition, names)
    clients = [
        ClientSpec(name=name, num_rows=rows.get(i, 0), rank=rank)
        for i, (name, rank) in enumerate(zip(names, ranks, strict=True))
    ]
    _require_two_adopt_steps(TrainingSettings.model_validate(config["training"]), clients)
    return FederatedRun(
        clients=clients,
        base_model_name=source.get("repo") or model.name,
        model=model,
        **config,
        **fields,
    )


def _require_two_adopt_steps(training: TrainingSettings, clients: Sequence[ClientSpec]) -> None:
    """Refuses clients that ADOPT would teach nothing, since its first step only measures."""
    if training.arguments.get("optim") != "adopt" or training.optimizer_state == "kept":
        return
    for number, client in enumerate(clients):
        if client.num_rows and schedule.count_local_steps(training, client.num_rows) == 1:
            raise UserError(
                f"training.arguments.optim: adopt: client {number} ({client.name}) takes one step "
                f"in a round, with {client.num_rows} rows, and the first step of adopt only measures",
                "take more local epochs or smaller batches, or use optimizer_state: kept",
            )
