import logging

import httpx
import pytest

from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment import node_registry
from blossomtune.deployment.keys import KeyStore
from blossomtune.deployment.node_registry import NodeRegistry
from blossomtune.public_keys import compute_fingerprint, load_public_key


class Control:
    """A Control API that counts nodes, and refuses keys that it has seen."""

    def __init__(self):
        self.keys, self.unregistered = [], []

    def RegisterNode(self, request):  # noqa: N802 - as Flower names it
        if request.public_key in self.keys:
            response = httpx.Response(409, request=httpx.Request("POST", "http://x"))
            response.raise_for_status()
        self.keys.append(request.public_key)
        return type("Response", (), {"node_id": 100 + len(self.keys)})

    def UnregisterNode(self, request):  # noqa: N802
        self.unregistered.append(request.node_id)


@pytest.fixture
def keys(tmp_path):
    keys = KeyStore(tmp_path)
    keys.create_missing(["127.0.0.1"], range(2))
    return keys


@pytest.fixture
def control():
    return Control()


@pytest.fixture
def registry(keys, control, monkeypatch):
    monkeypatch.setattr(node_registry, "POLL_SECONDS", 0)
    return NodeRegistry(control, [keys.supernode_public_key(client) for client in range(2)])


def test_keys_are_registered_and_do_not_change_by_themselves(registry, keys, control):
    assert registry.node_ids == {0: 101, 1: 102}
    public = load_public_key(keys.supernode_public_key(1))
    assert control.keys[1] == flower.public_key_to_bytes(public)
    keys.supernode_public_key(1).touch()
    assert registry.poll_changes() == {}
    assert control.unregistered == []


def test_replaced_key_is_registered_as_another_node(registry, keys, control):
    before = dict(registry.fingerprints)
    keys.replace_supernode_key(1)
    assert registry.poll_changes() == {1: 103}
    assert control.unregistered == [102]
    public = load_public_key(keys.supernode_public_key(1))
    assert registry.fingerprints == {101: before[101], 102: compute_fingerprint(public)} != before
    assert registry.poll_changes() == {}


def test_removed_key_is_revoked_until_there_is_another(registry, keys, control):
    keys.revoke_supernode_key(0)
    assert registry.poll_changes() == {0: None}
    assert registry.poll_changes() == {}
    keys.create_missing(["127.0.0.1"], range(2))
    assert registry.poll_changes() == {0: 103}
    assert control.unregistered == [101]


def test_revoked_key_cannot_come_back(registry, keys, caplog):
    caplog.set_level(logging.WARNING)
    public = keys.supernode_public_key(0).read_bytes()
    keys.revoke_supernode_key(0)
    registry.poll_changes()
    keys.supernode_public_key(0).write_bytes(public)
    assert registry.poll_changes() == {0: None}
    assert caplog.messages == ["the new key of client 0 has been in use before"]


def test_file_that_is_half_written_changes_nothing_yet(registry, keys, caplog):
    file = keys.supernode_public_key(0)
    keys.replace_supernode_key(0)
    content = file.read_bytes()
    file.write_bytes(content[:40])
    assert registry.poll_changes() == {}
    assert "the key of client 0 stays" in caplog.text
    file.write_bytes(content)
    assert registry.poll_changes() == {0: 103}
