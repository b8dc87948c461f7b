import pytest
from pydantic import ValidationError

from blossomtune.config.engines import is_loopback
from blossomtune.config.federation import FederationSettings


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "needs a SuperLink: connection, a name in Flower's config.toml, or address"),
        ({"connection": "lab", "address": "a.example:1"}, "or address, and not both"),
        ({"address": "a.example"}, "a host and a port, as in superlink.example.org:8000"),
        ({"address": "https://a.example:8000"}, "a host and a port"),
        (
            {"connection": "lab", "root_certificates": "ca.crt"},
            "root_certificates belongs to address; config.toml has those of a connection",
        ),
    ],
)
def test_engine_flower_needs_one_superlink(keys, message):
    with pytest.raises(ValidationError, match=message):
        FederationSettings(engine={"name": "flower", **keys})


@pytest.mark.parametrize("keys", [{"connection": "lab"}, {"address": "127.0.0.1:8000"}])
def test_engine_flower_may_be_unencrypted_on_this_machine(keys):
    assert not FederationSettings(engine={"name": "flower", **keys}, tls=False).tls


@pytest.mark.parametrize(
    "keys",
    [{"address": "a.example:8000"}, {"address": "127.0.0.1:8000", "root_certificates": "ca.crt"}],
)
def test_engine_flower_encrypts_what_leaves_this_machine(keys):
    with pytest.raises(ValidationError, match=r"tls: false is for a SuperLink of this machine"):
        FederationSettings(engine={"name": "flower", **keys}, tls=False)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *(("127.0.0.1:1", True), ("127.8.0.1:1", True), ("[::1]:1", True), ("localhost:1", True)),
        *(("10.0.0.1:1", False), ("[fe80::1]:1", False), ("localhost.example:1", False)),
    ],
)
def test_loopback_addresses_are_those_of_this_machine(address, expected):
    assert is_loopback(address) is expected
