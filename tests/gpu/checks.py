"""The checks: experiments, what they are compared with, and tolerances."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from random_model import count_weights
from workspace import Workspace

from blossomtune.artifacts.history import History
from blossomtune.artifacts.metrics import Metrics

FLOPS_PER_WEIGHT = 4
"""Per token and weight of a frozen base: two in the forward pass, two for the inputs' gradients."""


@dataclass(frozen=True)
class Check:
    """One experiment and its comparison.

    Attributes:
        name: Name of the check and of its experiment.
        title: What is checked, for the table.
        is_evaluated: Whether merge and evaluation run, too.
        reference: Experiment to compare with.
        loss: Largest relative difference of the first round's training loss.
        base_loss: Largest relative difference of the base model's loss.
        accuracy: Largest absolute difference of the federated model's accuracy.
    """

    name: str
    title: str
    is_evaluated: bool = False
    reference: str | None = None
    loss: float | None = None
    base_loss: float | None = None
    accuracy: float | None = None


CHECKS = (
    Check("cpu-default", "default on the CPU, float32", is_evaluated=True),
    Check(
        "gpu-float32",
        "default on the GPU, float32",
        is_evaluated=True,
        reference="cpu-default",
        loss=1e-2,
        base_loss=1e-3,
        accuracy=0.03,
    ),
    Check(
        "gpu-bfloat16",
        "default on the GPU, bfloat16",
        is_evaluated=True,
        reference="cpu-default",
        loss=5e-2,
        base_loss=3e-2,
        accuracy=0.04,
    ),
    Check("plain", "two clients in turns, bfloat16"),
    Check("two-clients", "two clients at once on one GPU", reference="plain", loss=1e-2),
    Check("8bit", "8-bit base", reference="plain", loss=0.15),
    Check("4bit", "4-bit base", reference="plain", loss=0.25),
    Check("checkpointing", "gradient checkpointing", reference="plain", loss=1e-2),
    Check("dora", "DoRA", reference="plain", loss=0.1),
    Check("cpu-packed", "packed rows on the CPU, float32"),
    Check("packed", "packed rows of 4,096 tokens", reference="cpu-packed", loss=5e-2),
    Check("random-1b", "1 B random weights, all stages", is_evaluated=True),
)


@dataclass
class Outcome:
    """Result of a check.

    Attributes:
        name: Name of the check.
        status: ``passed``, ``failed`` or ``could not run``.
        reasons: Sentences that explain another status than ``passed``.
        measured: Measurements by name.
        history: The experiment's history, if it was trained.
        metrics: The experiment's metrics, if it was evaluated.
    """

    name: str
    status: str = "passed"
    reasons: list[str] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    history: History | None = None
    metrics: Metrics | None = None


def run_check(
    check: Check, workspace: Workspace, device: str, peak: float, earlier: dict[str, Outcome]
) -> Outcome:
    """Run one check.

    Args:
        check: The check.
        workspace: Directory of the experiments.
        device: Type of the device.
        peak: FLOP/s of a large matrix product on the device.
        earlier: Outcomes of earlier checks, by name.

    Returns:
        The outcome.
    """
    outcome = Outcome(check.name)
    reference = earlier.get(check.reference) if check.reference else None
    if check.reference and (reference is None or reference.history is None):
        outcome.status = "could not run"
        outcome.reasons.append(f"it is compared with {check.reference}, which has no result")
        return outcome
    outcome.history = workspace.build_history(check.name)
    if check.is_evaluated:
        outcome.metrics = workspace.build_metrics(check.name)
    model = workspace.config["experiments"][check.name]["model"]
    weights = count_weights(workspace.folder / "results/models" / model)
    outcome.measured = measure(outcome.history, outcome.metrics, weights, peak)
    expected = "cpu" if check.name.startswith("cpu-") else device
    outcome.reasons = [*find_faults(outcome, expected)]
    if reference is not None:
        outcome.reasons += compare(check, outcome, reference)
    outcome.status = "failed" if outcome.reasons else "passed"
    return outcome


def measure(history: History, metrics: Metrics | None, weights: int, peak: float) -> dict[str, Any]:
    """Return speed, memory, losses and accuracy of an experiment.

    Args:
        history: Its history; the speed is that of the last round, when all is warm.
        metrics: Its metrics, or None.
        weights: Number of weights in matrices of the model's layers.
        peak: FLOP/s of a large matrix product.

    Returns:
        Values by name; a share of the peak is only given for devices that are not the CPU.
    """
    clients = history.rounds[-1].clients
    speed = sum(c.tokens for c in clients) / max(1e-9, sum(c.seconds for c in clients))
    memory = [c.gpu_memory_mb for r in history.trained_rounds for c in r.clients]
    evaluations = [r.evaluation.loss for r in history.rounds if r.evaluation]
    measured = {
        "device": history.device,
        "tokens_per_second": round(speed, 1),
        "share_of_peak": round(speed * FLOPS_PER_WEIGHT * weights / peak, 4),
        "gpu_memory_mb": max((m for m in memory if m is not None), default=None),
        "train_loss": [record.train_loss for record in history.trained_rounds],
        "evaluation_loss": evaluations,
    }
    if history.device == "cpu":
        del measured["share_of_peak"]
    if metrics:
        measured["base_loss"] = metrics.base.loss.value
        measured["federated_loss"] = metrics.federated.loss.value
        if metrics.base.accuracy and metrics.federated.accuracy:
            measured["base_accuracy"] = metrics.base.accuracy.value
            measured["federated_accuracy"] = metrics.federated.accuracy.value
    return measured


def find_faults(outcome: Outcome, device: str) -> Iterator[str]:
    """Yield faults that show without a comparison."""
    measured, history = outcome.measured, outcome.history
    if measured["device"] != device:
        yield f"it trained on {measured['device']} instead of {device}"
    losses = [*measured["train_loss"], *measured["evaluation_loss"]]
    if not all(loss is not None and math.isfinite(loss) for loss in losses):
        yield f"a loss is not finite: {losses}"
    if device in ("cuda", "xpu") and not measured["gpu_memory_mb"]:
        yield "the memory of the device was not measured"
    for number, failure in history.failures if history else []:
        yield f"round {number}: client {failure.client} failed: {failure.reason}"


def compare(check: Check, outcome: Outcome, reference: Outcome) -> list[str]:
    """Compare the outcome with that of the reference.

    Args:
        check: The check with its tolerances.
        outcome: The check's outcome, which gets the differences as measurements.
        reference: Outcome of the reference.

    Returns:
        One sentence per difference above its tolerance.
    """
    ours, theirs = outcome.measured, reference.measured
    values: dict[str, Callable[[dict[str, Any]], float]] = {
        "loss": lambda measured: measured["train_loss"][0],
        "base_loss": lambda measured: measured["base_loss"],
        "accuracy": lambda measured: measured["federated_accuracy"],
    }
    faults = []
    for key, get in values.items():
        if (tolerance := getattr(check, key)) is None:
            continue
        value, expected = get(ours), get(theirs)
        scale = 1.0 if key == "accuracy" else abs(expected)
        difference = abs(value - expected) / scale
        ours[f"{key}_difference"] = round(difference, 6)
        if not difference <= tolerance:
            faults.append(
                f"{key} is {value:.4g}, and {expected:.4g} in {check.reference}: "
                f"{difference:.2g} apart, and {tolerance:g} is allowed"
            )
    return faults
