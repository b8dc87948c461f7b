import pytest

from blossomtune.deployment.docker_engine import connect_engine
from blossomtune.errors import UserError


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:2376", "ssh://lab@192.0.2.1"])
def test_engine_on_another_machine_is_an_error(monkeypatch, address):
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(UserError, match="does not see this machine's files"):
        connect_engine()


def test_engine_that_does_not_respond_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(UserError, match=f"no Docker engine answers at unix://{tmp_path}"):
        connect_engine()
