"""Compute what the checkpoints of a federation depend on."""

from functools import lru_cache
from typing import Any

from blossomtune import code_dependencies
from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.provenance import Provenance
from blossomtune.artifacts.tokenized_manifest import TokenizedManifest
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.spec import FederationSpec
from blossomtune.package_versions import get_package_versions

EXECUTION_KEYS = {
    *("engine", "tls", "gpus_per_client", "round_timeout", "quarantine"),
    *("min_clients", "min_available_clients"),
}
"""Settings that do not affect the trained weights."""


ROUND_SELECTION_KEYS = {"early_stopping", "result", "keep_checkpoints"}
"""Settings that choose among finished rounds."""


@lru_cache(maxsize=1)
def build_run_identity(spec: FederationSpec, paths: ClientPaths, device: str) -> dict[str, Any]:
    """Build everything that the adapter after a round depends on.

    The number of rounds is included only if a round's learning rate depends on it.

    Args:
        spec: What is trained.
        paths: Model and tokenized rows; only digests of their contents are included.
        device: Device that clients train on.

    Returns:
        Plain JSON values.
    """
    from blossomtune.privacy import noise_seed

    training = spec.training
    federation = spec.federation.model_dump(
        mode="json", exclude=EXECUTION_KEYS | ROUND_SELECTION_KEYS
    )
    del federation["communication"]["budget_mb"]
    if spec.federation.privacy:
        federation["privacy"]["secret"] = noise_seed.fingerprint_secret(spec.federation.privacy)
    if training.learning_rate_max == training.learning_rate_min:
        del federation["rounds"]
    data = read_artifact(paths.preprocessed / "manifest.json", TokenizedManifest)
    counts = [*data.clients, *([data.test] if data.test else [])]
    return {
        "seed": spec.seed,
        "lora": spec.lora.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "federation": federation,
        "clients": [client.name for client in spec.clients],
        "ranks": [client.rank for client in spec.clients],
        "data": [count.sha256 for count in counts],
        "held_out": [client.model_dump(mode="json") for client in data.held_out],
        "model": read_artifact(paths.model / "provenance.json", Provenance).files,
        "device": device,
        "packages": get_package_versions(),
        "code": code_dependencies.compute_code_digest("federate"),
    }
