import json
import shutil

import pytest
from external_clients import CLIENTS, build_config

from blossomtune.config import stage_inputs
from blossomtune.deployment.client_bundle import (
    replace_client_key,
    revoke_client_key,
    write_client_bundles,
)
from blossomtune.errors import UserError
from blossomtune.files import read_json


def test_bundle_has_all_files_and_no_secret(external_files):
    bundles = external_files / "keys/invitations/x"
    assert sorted(path.name for path in bundles.iterdir()) == ["north", "south"]
    for name in CLIENTS:
        folder = bundles / name
        files = {path.name for path in folder.iterdir()}
        assert files == {"ca.crt", "invitation.json", "supernode.key"}
        key = folder / "supernode.key"
        assert key.stat().st_mode & 0o777 == 0o600
        assert key.read_bytes() == (external_files / f"keys/supernode_{name}.key").read_bytes()
        bundle = read_json(folder / "invitation.json")
        assert "secret" in bundle["federate"]["federation"]["privacy"]
        assert "/etc/secret" not in json.dumps(bundle)


def test_setting_that_clients_would_refuse_is_reported(external_files, tiny_model, tmp_path):
    config = build_config(tiny_model, external_files / "keys", {"clients": list(CLIENTS)})
    settings = stage_inputs.invite(config, "x")
    settings["federate"]["training"]["arguments"] = {"deepspeed": "zero.json"}
    with pytest.raises(UserError, match=r"arguments\.deepspeed: 'zero\.json' is text"):
        write_client_bundles(settings, external_files / "tiny", external_files / "words", "y")
    assert not (external_files / "keys/invitations/y").exists()


def test_replaced_key_is_in_the_clients_folder_and_a_revoked_one_is_not(external_files, tmp_path):
    keys = shutil.copytree(external_files / "keys", tmp_path / "keys")
    key = keys / "invitations/x/north/supernode.key"
    before = key.read_bytes()
    replace_client_key(keys, "north")
    assert key.read_bytes() == (keys / "supernode_north.key").read_bytes() != before
    assert key.stat().st_mode & 0o777 == 0o600
    revoke_client_key(keys, "north")
    assert not key.exists()
    assert not list(keys.glob("supernode_north.*"))
    assert (keys / "invitations/x/south/supernode.key").exists()
