"""TODO docstring."""

from functools import lru_cache
from typing import Any

from blossomtune import code_dependencies
from blossomtune.federation.job import FederatedRun
from blossomtune.files import read_json
from blossomtune.package_versions import get_package_versions

EXECUTION_KEYS = {"engine", "tls", "gpus_per_client", "min_clients", "round_timeout"}
"""Where a round happens and whether it counts, not what it makes. (``device`` says on what.)"""


ROUND_SELECTION_KEYS = {"early_stopping", "result", "keep_checkpoints"}
"""What is made of rounds that are done."""


@lru_cache(maxsize=1)
def build_run_identity(run: FederatedRun, device: str) -> dict[str, Any]:
    """Everything that the adapter after a round depends on, as plain JSON values.

    The number of rounds is part of it only where the learning rate of a round depends on it.
    """
    from blossomtune.privacy import noise_seed

    training = run.training
    told = run.federation.model_dump(mode="json", exclude=EXECUTION_KEYS | ROUND_SELECTION_KEYS)
    del told["communication"]["budget_mb"]
    if run.federation.privacy:
        told["privacy"]["secret"] = noise_seed.fingerprint_secret(run.federation.privacy)
    if training.learning_rate_max == training.learning_rate_min:
        del told["rounds"]
    data = read_json(run.preprocessed / "manifest.json")
    return {
        "seed": run.seed,
        "lora": run.lora.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "federation": told,
        "clients": [client.name for client in run.clients],
        "ranks": [client.rank for client in run.clients],
        "data": [client["sha256"] for client in [*data["clients"], data["test"]]],
        "held_out": data.get("held_out", []),
        "model": read_json(run.model / "provenance.json")["files"],
        "device": device,
        "packages": get_package_versions(),
        "code": code_dependencies.compute_code_digest("federate"),
    }
