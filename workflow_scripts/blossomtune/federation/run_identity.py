"""TODO docstring."""

from functools import lru_cache
from typing import Any

from blossomtune import code_dependencies
from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.provenance import Provenance
from blossomtune.artifacts.tokenized_manifest import TokenizedManifest
from blossomtune.federation.job import FederatedRun
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
    data = read_artifact(run.preprocessed / "manifest.json", TokenizedManifest)
    counts = [*data.clients, *([data.test] if data.test else [])]
    return {
        "seed": run.seed,
        "lora": run.lora.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "federation": told,
        "clients": [client.name for client in run.clients],
        "ranks": [client.rank for client in run.clients],
        "data": [count.sha256 for count in counts],
        "held_out": [client.model_dump(mode="json") for client in data.held_out],
        "model": read_artifact(run.model / "provenance.json", Provenance).files,
        "device": device,
        "packages": get_package_versions(),
        "code": code_dependencies.compute_code_digest("federate"),
    }
