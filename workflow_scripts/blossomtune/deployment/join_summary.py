"""Describe what a client will do and send, before it connects."""

import math
from pathlib import Path
from typing import Any

from blossomtune.aggregation.registry import select_trainable_factor
from blossomtune.artifacts.tokenized_manifest import TokenizedManifest
from blossomtune.deployment.client_bundle import ClientBundle
from blossomtune.federation.messages.replies import TRAIN_METRICS, compute_max_reply_bytes
from blossomtune.federation.messages.versions import PACKAGE
from blossomtune.federation.spec import FederationSpec
from blossomtune.package_versions import TRAINING_PACKAGES
from blossomtune.privacy.record_keys import sends_norm_bit
from blossomtune.training.adapter import select_factor
from blossomtune.training.initial_adapter import build_initial_adapter

EVALUATE_METRICS = ("loss", "rows")


def describe_replies(spec: FederationSpec, client: int, model: Path) -> dict[str, Any]:
    """List what a client sends: names and shapes of tensors, of numbers and of packages, bytes.

    Args:
        spec: The federation.
        client: Number of the client.
        model: Directory of the base model.

    Returns:
        JSON object.
    """
    federation = spec.federation
    state = build_initial_adapter(model, spec.lora, spec.seed, spec.clients[client].rank).state
    state = select_factor(state, select_trainable_factor(federation.aggregation, 1))
    max_bytes = compute_max_reply_bytes(
        state,
        federation.communication.precision,
        with_control=federation.strategy.name == "scaffold",
        with_norm_bit=sends_norm_bit(federation.privacy),
    )
    return {
        "tensors": {name: list(value.shape) for name, value in state.items()},
        "control_variate": federation.strategy.name == "scaffold",
        "metrics": list(TRAIN_METRICS),
        "evaluation": list(EVALUATE_METRICS) if federation.fraction_evaluate else [],
        "max_bytes": max_bytes,
        "versions": [PACKAGE, *TRAINING_PACKAGES],
    }


def summarize_participation(
    bundle: ClientBundle, spec: FederationSpec, manifest: TokenizedManifest, sent: dict[str, Any]
) -> list[str]:
    """Return lines for the terminal.

    Args:
        bundle: The invitation.
        spec: The federation.
        manifest: Manifest of the client's token ids.
        sent: Result of ``describe_replies``.

    Returns:
        The lines.
    """
    federation, training, counts = spec.federation, spec.training, manifest.clients[0]
    names, tensors = [client.name for client in spec.clients], sent["tensors"]
    numbers = sum(map(math.prod, tensors.values()))
    dropped = sum(counts.dropped.values())
    held_out = [
        f"{part.rows} for {split}"
        for row in manifest.held_out
        for split, part in (("validation", row.validation), ("test", row.test))
        if part
    ]
    rows = ", ".join([f"{counts.rows} for training", *held_out, f"{dropped} left out"])
    tensor_names = f"{min(tensors)} to {max(tensors)}"
    lines = [
        f"server: {bundle.superlink}; this client: {bundle.client} ({', '.join(names)} take part)",
        f"rows: {rows}; the rows stay here",
        f"training: {federation.rounds} rounds, learning rate {training.learning_rate_max:g} to "
        f"{training.learning_rate_min:g}, arguments {training.arguments or 'none'}",
        f"sent once: the client's number, and the versions of {', '.join(sent['versions'])}",
        f"sent per round: {len(tensors)} tensors with {numbers} numbers ({tensor_names}), at most "
        f"{sent['max_bytes']} bytes in {federation.communication.precision}",
        f"sent per round: the numbers {', '.join(sent['metrics'])}",
    ]
    if sent["control_variate"]:
        lines.append("sent per round: the change of SCAFFOLD's control variate, as many numbers")
    if sent["evaluation"]:
        lines.append(f"sent per evaluation: the numbers {', '.join(sent['evaluation'])}")
    return lines
