import json

from external_clients import CLIENTS

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
