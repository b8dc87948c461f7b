"""Tests of how Flower's programs reach a SuperLink that others run."""

import tomllib

import pytest

from blossomtune.config.engines import FlowerEngine
from blossomtune.deployment.flower_connection import resolve_connection
from blossomtune.errors import UserError

CONFIG = """
[superlink]
default = "lab"
[superlink.lab]
address = "lab.example:8000"
root-certificates = "{certificate}"
[superlink.open]
address = "lab.example:8000"
insecure = true
[superlink.here]
address = "127.0.0.1:8000"
insecure = true
[superlink.lost]
address = "lab.example:8000"
root-certificates = "/nowhere/ca.crt"
[superlink.local]
address = ":local:"
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return the folder of a ``config.toml`` of a user."""
    (tmp_path / "ca.crt").write_text("")
    text = CONFIG.format(certificate=tmp_path / "ca.crt")
    (tmp_path / "config.toml").write_text(text)
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    return tmp_path


def resolve(home, tls=True, **keys):
    return resolve_connection(FlowerEngine(name="flower", **keys), tls, home / "own")


def test_named_connection_is_that_of_the_users_configuration(home):
    connection = resolve(home, connection="lab")
    assert (connection.name, connection.home) == ("lab", home)
    assert connection.address == "lab.example:8000"
    assert connection.tls_arguments == ["--root-certificates", str(home / "ca.crt")]
    assert resolve(home, tls=False, connection="here").tls_arguments == ["--insecure"]


@pytest.mark.parametrize(
    ("name", "tls", "message"),
    [
        ("typo", True, "typo is not in .*config.toml\n  hint: its connections: lab, open, "),
        ("default", True, "default is not in"),
        ("open", False, "open of .* is insecure, and lab.example:8000 is another machine"),
        ("here", True, "here of .* is insecure, and federation.tls is true"),
        ("lab", False, "lab of .* is encrypted, and federation.tls is false"),
        ("lost", True, "root-certificates of lost in .*: there is no file /nowhere/ca.crt"),
        ("local", True, "local of .* has no address of a SuperLink"),
    ],
)
def test_connection_that_cannot_be_used_is_an_error(home, name, tls, message):
    with pytest.raises(UserError, match=message):
        resolve(home, tls=tls, connection=name)


def test_missing_or_damaged_configuration_is_an_error(home):
    (home / "config.toml").write_text("[superlink")
    with pytest.raises(UserError, match=r"lab: .*config.toml is not TOML"):
        resolve(home, connection="lab")
    (home / "config.toml").unlink()
    with pytest.raises(UserError, match=r"lab: there is no .*config.toml\n  hint: FLWR_HOME"):
        resolve(home, connection="lab")


def test_address_is_written_as_a_connection_of_its_own(home):
    certificate = home / 'a "ca".crt'
    certificate.write_text("")
    keys = {"address": "lab.example:8000", "root_certificates": str(certificate)}
    connection = resolve(home, **keys)
    assert connection.home == home / "own"
    written = tomllib.loads((home / "own/config.toml").read_text())["superlink"]
    assert written[connection.name] == {
        "address": "lab.example:8000",
        "root-certificates": str(certificate),
        "insecure": False,
    }
    assert resolve(home, address="lab.example:8000").tls_arguments == []
    with pytest.raises(UserError, match="root_certificates: there is no file /nowhere"):
        resolve(home, address="lab.example:8000", root_certificates="/nowhere")
