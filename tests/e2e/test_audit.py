"""The audit log of real federations is checked against their adapter and history."""

import shutil

import pytest
import safetensors.numpy
from local_grid import build_experiment

from blossomtune.artifacts.audit_events import (
    ClientJoined,
    ReplyReceived,
    RequestSent,
    ResultWritten,
    RoundCompleted,
)
from blossomtune.artifacts.audit_log import AUDIT_LOG_FILE, AuditLog, read_audit_log
from blossomtune.auditing.verify_results import ADAPTER_FILE, verify_results
from blossomtune.errors import UserError
from blossomtune.files import compute_file_sha256, read_json, write_json

KEYS = {"fraction_train": 0.7, "fraction_evaluate": 0.4}


def verify(folder):
    return verify_results(folder, folder / "checkpoints" / AUDIT_LOG_FILE)


def list_events(folder, kind):
    events = [entry.event for entry in read_audit_log(folder / "checkpoints" / AUDIT_LOG_FILE)]
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def trained_once(train_in, tmp_path_factory):
    """Return the folder of a finished federation."""
    folder = tmp_path_factory.mktemp("audit") / "run"
    train_in(folder, build_experiment(**KEYS))
    return folder


@pytest.fixture
def trained(trained_once, tmp_path):
    """Return a copy of it, which a test may change."""
    return shutil.copytree(trained_once, tmp_path / "run")


@pytest.mark.parametrize(
    "keys",
    [
        {"aggregation": "flora"},
        {"aggregation": "fedex"},
        {"aggregation": "flexlora", "rounds": 1},
        {"result": "best", "rounds": 3},
        {"strategy": {"name": "fedadam"}, "communication": {"precision": "int8"}},
    ],
)
def test_results_of_every_kind_match_their_log(train, keys):
    run, history = train(build_experiment(**{**KEYS, **keys}))
    entries = verify(run.paths.adapter.parent)
    assert [event.client for event in list_events(run.paths.adapter.parent, ClientJoined)] == [
        *range(len(history["clients"]))
    ]
    assert entries[-1].event.files.keys() == {
        *("history.json", "adapter_config.json", ADAPTER_FILE)
    }


def test_results_of_a_run_that_went_on_match_their_log(train, trained):
    verify(trained)
    train(build_experiment(**{**KEYS, "rounds": 3}))
    verify(trained)
    shutil.rmtree(trained / "adapter")
    train(build_experiment(**{**KEYS, "rounds": 3}))  # only writes the results again
    verify(trained)
    train(build_experiment(**{**KEYS, "rounds": 2, "aggregation": "fedex"}))  # another run
    verify(trained)


def test_requests_and_replies_are_logged_in_order(trained):
    record = read_json(trained / "history.json")["rounds"][1]
    clients = [client["client"] for client in record["clients"]]
    asked = [(e.task, e.client) for e in list_events(trained, RequestSent) if e.round == 1]
    replied = [e for e in list_events(trained, ReplyReceived) if e.round == 1]
    assert [client for task, client in asked if task == "train"] == clients
    assert [(e.task, e.client) for e in replied] == asked
    assert len({e.sha256 for e in replied}) == len(replied)
    assert {e.reason for e in replied} == {None}


def change_history(folder, change):
    path = folder / "history.json"
    history = read_json(path)
    change(history)
    write_json(path, history)


def test_changed_history_is_found(trained):
    change_history(trained, lambda history: history["rounds"][1].update(train_loss=0.5))
    with pytest.raises(UserError, match=r"history\.json differs from the one in the audit log"):
        verify(trained)


def test_history_that_the_log_was_made_to_name_is_still_found(trained):
    """A result entry can be appended by whoever can write the log; the rounds have their own."""
    change_history(trained, lambda history: history["rounds"][1].update(train_loss=0.5))
    append_result(trained)
    with pytest.raises(UserError, match=r"round 1 of history\.json differs"):
        verify(trained)


def test_adapter_that_the_log_was_made_to_name_is_still_found(trained):
    path = trained / "adapter" / ADAPTER_FILE
    tensors = safetensors.numpy.load_file(path)
    name = min(tensors)
    tensors[name] = tensors[name] + 1e-3
    safetensors.numpy.save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"adapter_model\.safetensors differs from the one in"):
        verify(trained)
    append_result(trained)
    with pytest.raises(UserError, match="the adapter is not that of round 2 in the audit log"):
        verify(trained)


def append_result(folder):
    files = [*(folder / "adapter").iterdir(), folder / "history.json"]
    log = AuditLog(folder / "checkpoints" / AUDIT_LOG_FILE)
    log.append(ResultWritten(files={file.name: compute_file_sha256(file) for file in files}))


def test_removed_and_added_files_are_found(trained):
    extra = trained / "adapter/README.md"
    extra.write_text("")
    with pytest.raises(UserError, match=r"README\.md is not in the audit log"):
        verify(trained)
    extra.unlink()
    (trained / "adapter/adapter_config.json").unlink()
    with pytest.raises(UserError, match=r"adapter_config\.json is in the audit log and has been"):
        verify(trained)


def test_log_that_ends_early_or_lacks_a_round_is_found(trained):
    path = trained / "checkpoints" / AUDIT_LOG_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines)):
        path.write_bytes(b"".join(lines[:count]))
        with pytest.raises(UserError, match="its audit log has no result"):
            verify(trained)
    path.write_bytes(b"".join(lines))
    events = [entry.event for entry in read_audit_log(path)]
    path.unlink()
    log = AuditLog(path)
    for event in events:
        if not (isinstance(event, RoundCompleted) and event.round == 1):
            log.append(event)
    with pytest.raises(UserError, match=r"round 1 of history\.json is not in the audit log"):
        verify(trained)
