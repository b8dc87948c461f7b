"""A client's key is replaced or revoked while the others go on."""

import subprocess
import sys

import pytest
from checkout import ROOT
from federate_process import EXPECTED_KEYS

from blossomtune.artifacts.audit_log import AUDIT_LOG_FILE, read_audit_log

pytestmark = pytest.mark.engine


def change_key(process, action, client):
    """Run the owner's command on a client's key; return the SuperNodes of all clients."""
    supernodes = process.find_children("supernode")
    keys = process.get_run_folder() / "keys"
    command = [sys.executable, "workflow_scripts/client_key.py", action, str(client)]
    subprocess.run([*command, "--keys", str(keys)], cwd=ROOT, check=True)
    return supernodes


def test_others_go_on_while_keys_are_replaced_and_revoked(
    engine, federate, federation_files, hash_without_client
):
    """The SuperNode of a replaced key ends, and is started again with the new one."""
    engine("process")
    keys = EXPECTED_KEYS | {"rounds": 5, "min_clients": 2, "round_timeout": 120}
    process = federate(federation_files, engine="process", **keys)
    process.wait_for_round(1)
    supernodes = change_key(process, "replace", 1)
    process.wait_for_round(2)
    assert supernodes[0].is_running() and supernodes[2].is_running()
    supernodes = change_key(process, "revoke", 2)
    process.wait_for_round(4)
    assert supernodes[0].is_running() and supernodes[1].is_running()
    output = process.finish()
    assert "the key of client 1 was replaced" in output
    assert "the key of client 2 was revoked" in output
    assert "failed: client 2 (lab 2): its key was revoked" in output
    rounds = process.list_clients()
    first_round = next(i for i, clients in enumerate(rounds, 1) if clients != [0, 1, 2])
    assert first_round > 2, output
    assert rounds[first_round - 1 :] == [[0, 1]] * (6 - first_round), output
    entries = read_audit_log(process.checkpoints / AUDIT_LOG_FILE)
    joined = [e.event for e in entries if e.event.event == "join" and e.event.client == 1]
    assert len({event.key for event in joined}) == 2
    assert process.hash_adapter() == hash_without_client(2, first_round, rounds=5)
