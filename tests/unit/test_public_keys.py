import subprocess

import pytest

from blossomtune.deployment.keys import KeyStore
from blossomtune.errors import UserError
from blossomtune.public_keys import compute_fingerprint, load_public_key


def test_fingerprint_is_that_of_ssh_keygen(tmp_path):
    store = KeyStore(tmp_path / "keys")
    store.create_missing(["127.0.0.1"], clients=range(1))
    path = store.supernode_public_key(0)
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", path], capture_output=True, text=True, check=True
    )
    assert compute_fingerprint(load_public_key(path)) == shown.stdout.split()[1]


def test_key_of_another_kind_is_rejected(tmp_path):
    path = tmp_path / "north"
    subprocess.run(["ssh-keygen", "-q", "-f", path, "-t", "ed25519", "-N", ""], check=True)
    with pytest.raises(UserError, match=r"north.pub is not a public key of an elliptic curve"):
        load_public_key(tmp_path / "north.pub")
