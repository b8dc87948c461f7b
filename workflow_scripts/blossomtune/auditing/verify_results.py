"""Compare history.json and adapter of an experiment with the audit log of its server."""

from collections.abc import Iterator
from pathlib import Path

from blossomtune.artifacts.audit_events import Task
from blossomtune.artifacts.audit_log import (
    AuditEntry,
    compute_tensors_sha256,
    read_audit_log,
)
from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.history import History
from blossomtune.artifacts.round_record import RoundRecord
from blossomtune.auditing.logged_rounds import LoggedRound, LoggedRun, collect_rounds
from blossomtune.errors import UserError
from blossomtune.files import compute_file_sha256, compute_json_sha256

ADAPTER_FILE = "adapter_model.safetensors"

STACKING_AGGREGATIONS = ("fedex", "flora")
"""Aggregations whose final adapter is made of all rounds, and is not that of one round."""


def verify_results(folder: Path, log_path: Path) -> list[AuditEntry]:
    """Check the log of an experiment, and the results against the log.

    Args:
        folder: Folder with ``history.json`` and ``adapter``.
        log_path: The log.

    Returns:
        The entries of the log.

    Raises:
        UserError: If the log was changed, or a result differs from it.
    """
    entries = read_audit_log(log_path)
    for problem in _find_problems(collect_rounds(entries), folder):
        raise UserError(
            f"{folder}: {problem}",
            f"it was changed after training, or {log_path} belongs to another result",
        )
    return entries


def _find_problems(run: LoggedRun, folder: Path) -> Iterator[str]:
    if run.result is None:
        yield "its audit log has no result"
        return
    paths = {"history.json": folder / "history.json"}
    paths |= {file.name: file for file in sorted((folder / "adapter").glob("*"))}
    for name in sorted(paths.keys() | run.result.files.keys()):
        if name not in run.result.files:
            yield f"{name} is not in the audit log"
        elif name not in paths or not paths[name].is_file():
            yield f"{name} is in the audit log and has been removed"
        elif compute_file_sha256(paths[name]) != run.result.files[name]:
            yield f"{name} differs from the one in the audit log"
    history = read_artifact(paths["history.json"], History)
    for record in history.rounds:
        if record.round not in run.rounds:
            yield f"round {record.round} of history.json is not in the audit log"
        else:
            yield from _find_round_problems(record, run.rounds[record.round])
    if history.result_round in run.rounds and history.aggregation not in STACKING_AGGREGATIONS:
        expected = run.rounds[history.result_round].completion.adapter
        if _hash_adapter(folder / "adapter" / ADAPTER_FILE) != expected:
            yield f"the adapter is not that of round {history.result_round} in the audit log"


def _find_round_problems(record: RoundRecord, logged: LoggedRound) -> Iterator[str]:
    if compute_json_sha256(record.model_dump(mode="json")) != logged.completion.record:
        yield f"round {record.round} of history.json differs from the one in the audit log"
    if _list_reasons(record) != logged.reasons:
        yield f"the clients of round {record.round} differ from those in the audit log"
    accepted = {key for key, reason in logged.reasons.items() if reason is None}
    for task, client in sorted(accepted - logged.asked):
        yield f"client {client} was not asked to {task} in round {record.round}"


def _list_reasons(record: RoundRecord) -> dict[tuple[Task, int], str | None]:
    """Return by task and client why the reply does not count; None if it does."""
    reasons: dict[tuple[Task, int], str | None] = {}
    reasons |= {("train", client.client): None for client in record.clients}
    reasons |= {("train", failure.client): failure.reason for failure in record.failed}
    if evaluation := record.client_evaluation:
        reasons |= {("evaluate", client.client): None for client in evaluation.clients}
        reasons |= {("evaluate", failure.client): failure.reason for failure in evaluation.failed}
    return reasons


def _hash_adapter(path: Path) -> str:
    import safetensors.numpy

    return compute_tensors_sha256(safetensors.numpy.load_file(path))
