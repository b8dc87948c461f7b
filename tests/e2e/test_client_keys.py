"""A client's key is replaced or revoked while the others go on."""

import subprocess
import sys

import pytest
from checkout import ROOT
from federate_process import SIMULATED_KEYS

from blossomtune.artifacts.audit_log import AUDIT_LOG_FILE, read_audit_log

pytestmark = pytest.mark.engine


@pytest.fixture
def start(engine, federate, federation_files):
    """Return a function that starts the federation on the process engine."""
    engine("process")
    return lambda **keys: federate(federation_files, engine="process", **(SIMULATED_KEYS | keys))


def change_key(process, action):
    """Run the owner's command on the key of client 1; return the other SuperNodes."""
    supernodes = process.find_children("supernode")
    keys = process.get_run_folder() / "keys"
    command = [sys.executable, "workflow_scripts/client_key.py", action, "1", "--keys", str(keys)]
    subprocess.run(command, cwd=ROOT, check=True)
    return [supernodes[0], supernodes[2]]


def test_client_goes_on_with_another_key(start, simulated_run):
    """Its SuperNode ends, because its key is refused, and is started again with the new one."""
    process = start(min_clients=3, round_timeout=120)
    process.wait_for_round(1)
    others = change_key(process, "replace")
    process.wait_for_round(2)
    assert all(node.is_running() for node in others)
    output = process.finish()
    assert process.list_clients() == [[0, 1, 2]] * 3, output
    assert "the key of client 1 was replaced" in output
    entries = read_audit_log(process.checkpoints / AUDIT_LOG_FILE)
    joined = [e.event for e in entries if e.event.event == "join" and e.event.client == 1]
    assert len({event.key for event in joined}) == 2
    assert process.hash_adapter() == simulated_run.hash_adapter()


def test_client_without_its_key_is_left_out(start):
    process = start(min_clients=2, round_timeout=120)
    process.wait_for_round(1)
    others = change_key(process, "revoke")
    process.wait_for_round(2)
    assert all(node.is_running() for node in others)
    output = process.finish()
    assert process.list_clients()[-1] == [0, 2], output
    assert "the key of client 1 was revoked" in output
    assert "failed: client 1 (lab 1): its key was revoked" in output
