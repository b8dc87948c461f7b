"""`make verify` names what it has checked, and what is wrong."""

import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from artifact_samples import client_train_record, federation_history, round_record
from checkout import ROOT

from blossomtune.artifacts.audit_events import (
    ReplyReceived,
    RequestSent,
    ResultWritten,
    RoundCompleted,
    RunStarted,
)
from blossomtune.artifacts.audit_log import AuditLog, compute_tensors_sha256
from blossomtune.artifacts.files import write_artifact
from blossomtune.files import compute_file_sha256, compute_json_sha256

HASH = "0" * 64


@pytest.fixture
def results(tmp_path):
    """Return results of one experiment with one client and one round."""
    folder = tmp_path / "results/experiments/small"
    tensors = {"a": np.ones((2, 2), np.float32)}
    (folder / "adapter").mkdir(parents=True)
    adapter = folder / "adapter/adapter_model.safetensors"
    safetensors.numpy.save_file(tensors, adapter)
    rounds = [round_record(0), round_record(1, clients=[client_train_record(0)])]
    write_artifact(folder / "history.json", federation_history(rounds=rounds))
    log = AuditLog(tmp_path / "results/checkpoints/small/audit.jsonl")
    log.append(RunStarted(run="0123456789abcdef", round=0))
    for record in rounds:
        for client in record.clients:
            number = {"round": record.round, "task": "train", "client": client.client}
            log.append(RequestSent(**number, sha256=HASH))
            log.append(ReplyReceived(**number, sha256=HASH, reason=None))
        digest = compute_json_sha256(record.model_dump(mode="json"))
        sha256 = compute_tensors_sha256(tensors)
        log.append(RoundCompleted(round=record.round, adapter=sha256, record=digest))
    files = [adapter, folder / "history.json"]
    log.append(ResultWritten(files={file.name: compute_file_sha256(file) for file in files}))
    return tmp_path / "results"


def verify(results, *arguments):
    command = [sys.executable, ROOT / "workflow_scripts/verify.py", "--results", results]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def test_log_can_be_checked_for_a_line_that_was_noted(results):
    lines = (results / "checkpoints/small/audit.jsonl").read_text().splitlines()
    last = lines[-1].split('"sha256":"')[1][:64]
    done = verify(results)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"small: {len(lines)} entries, the last one is {last}\n"
    assert verify(results, "small", "--includes", last).returncode == 0
    done = verify(results, "small", "--includes", HASH)
    assert done.returncode == 1
    assert f"error: no entry has the SHA-256 {HASH}\n  hint: entries have been" in done.stderr


def test_changed_result_and_missing_results_are_errors(results, tmp_path):
    (results / "experiments/small/adapter/adapter_model.safetensors").write_bytes(b"")
    done = verify(results)
    assert done.returncode == 1
    assert "adapter_model.safetensors differs from the one in the audit log" in done.stderr
    assert "Traceback" not in done.stderr
    done = verify(tmp_path / "elsewhere")
    assert "elsewhere has no finished federation" in done.stderr
