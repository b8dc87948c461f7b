"""What the docker engine says where it cannot begin, and what it gives a container."""

import pytest

from blossomtune.config.engines import Docker
from blossomtune.errors import UserError
from blossomtune.launch.docker import Containers, connect
from blossomtune.launch.docker import _open_to_others as open_to_others
from blossomtune.launch.parts import SUPERLINK, Part


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:2376", "ssh://lab@192.0.2.1"])
def test_an_engine_elsewhere_does_not_see_our_files(monkeypatch, address):
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(UserError, match="does not see this machine's files"):
        connect()


def test_an_engine_that_does_not_answer_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(UserError, match=f"no Docker engine answers at unix://{tmp_path}"):
        connect()


def test_files_of_root_alone_are_told_before_anything_starts(tmp_path):
    file = tmp_path / "model" / "model.safetensors"
    file.parent.mkdir()
    file.touch()
    file.chmod(0o644)
    open_to_others(file.parent)
    file.chmod(0o600)
    with pytest.raises(UserError, match=r"model\.safetensors can be read by root alone"):
        open_to_others(file.parent)


def test_supernodes_have_limits_and_the_superlink_has_none(tmp_path):
    containers = Containers(tmp_path, tmp_path, Docker(name="docker", memory_mb=900, cpus=1.5))
    node = Part("supernode_0", (), tmp_path)
    assert containers._limits(node) == {
        "nano_cpus": 1_500_000_000,
        "mem_limit": "900m",
        "memswap_limit": "900m",
    }
    assert containers._limits(Part(SUPERLINK, (), tmp_path)) == {}
