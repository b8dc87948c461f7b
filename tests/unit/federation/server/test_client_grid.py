"""Tests of which node is which client."""

import logging
from dataclasses import dataclass

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from federation_samples import federation_spec

from blossomtune.deployment.keys import KeyStore
from blossomtune.errors import UserError
from blossomtune.federation.server import client_grid
from blossomtune.federation.server.client_grid import ClientGrid
from blossomtune.public_keys import compute_fingerprint, load_public_key

NAMES = ("north", "south")


@dataclass
class Node:
    """A node as a grid describes it."""

    node_id: int
    name: str = ""
    public_key: bytes = b""


class Nodes:
    """The part of a grid that says which nodes are connected."""

    def __init__(self, *nodes):
        self.nodes = list(nodes)

    def get_nodes(self):
        return self.nodes


@pytest.fixture
def keys(tmp_path):
    """Return a folder with the public key of each client, and their store."""
    store = KeyStore(tmp_path / "store")
    store.create_missing(["127.0.0.1"], (*NAMES, "stranger"))
    folder = tmp_path / "clients"
    folder.mkdir()
    for name in NAMES:
        key = store.supernode_public_key(name).read_bytes()
        (folder / f"{name}.pub").write_bytes(key)
    return folder, store


def build_spec(**engine):
    block = {"name": "flower", "connection": "lab"} | engine
    return federation_spec(names=NAMES, engine=block)


def to_pem(store, name):
    key = load_public_key(store.supernode_public_key(name))
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_names_decide_which_node_is_which_client_in_any_order(caplog):
    caplog.set_level(logging.INFO)
    nodes = Nodes(Node(9, "south"), Node(8, "visitor"), Node(7, "north"))
    grid = ClientGrid(nodes, build_spec())
    assert sorted(grid.get_node_ids()) == [7, 9]
    assert grid.clients == {9: 1, 7: 0}
    assert caplog.messages == ["node 8 (visitor) has no client's name"]


def test_node_that_connects_later_is_its_client():
    nodes = Nodes(Node(9, "south"))
    grid = ClientGrid(nodes, build_spec())
    assert grid.get_node_ids() == [9]
    nodes.nodes = [Node(7, "north")]
    assert grid.get_node_ids() == [7]
    assert grid.clients == {9: 1, 7: 0}


def test_keys_decide_where_there_are_some(keys, caplog):
    caplog.set_level(logging.INFO)
    folder, store = keys
    nodes = Nodes(
        Node(5, "south", to_pem(store, "north")), Node(6, "north", to_pem(store, "stranger"))
    )
    grid = ClientGrid(nodes, build_spec(keys=str(folder)))
    assert grid.get_node_ids() == [5]
    assert grid.clients == {5: 0}
    assert caplog.messages == ["node 6 (north) has no client's key"]
    assert grid.key_fingerprints[5] == compute_fingerprint(
        load_public_key(store.supernode_public_key("north"))
    )


def test_two_nodes_of_one_name_are_an_error():
    grid = ClientGrid(Nodes(Node(7, "north"), Node(8, "north")), build_spec())
    with pytest.raises(UserError, match="nodes 7 and 8 were both registered as 'north'"):
        grid.get_node_ids()


def test_superlink_that_ends_in_a_handshake_is_asked_again(monkeypatch):
    class Restarting(Nodes):
        attempts = 0

        def get_nodes(self):
            self.attempts += 1
            if self.attempts < 3:
                raise httpx.ConnectError("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred")
            return self.nodes

    monkeypatch.setattr(client_grid, "RETRY_SECONDS", 0)
    assert list(ClientGrid(Restarting(Node(7, "north")), build_spec()).get_node_ids()) == [7]
