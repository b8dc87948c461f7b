"""What the docker engine says where it cannot begin, and what it gives a container."""

import pytest

from blossomtune.config.engines import DockerEngine
from blossomtune.deployment.backend import SUPERLINK, ProcessSpec
from blossomtune.deployment.docker import DockerBackend
from blossomtune.deployment.docker import _require_world_readable as open_to_others
from blossomtune.deployment.docker_engine import connect_engine
from blossomtune.errors import UserError


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:2376", "ssh://lab@192.0.2.1"])
def test_an_engine_elsewhere_does_not_see_our_files(monkeypatch, address):
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(UserError, match="does not see this machine's files"):
        connect_engine()


def test_an_engine_that_does_not_answer_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(UserError, match=f"no Docker engine answers at unix://{tmp_path}"):
        connect_engine()


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
    containers = DockerBackend(
        tmp_path, tmp_path, DockerEngine(name="docker", memory_mb=900, cpus=1.5)
    )
    node = ProcessSpec("supernode_0", (), tmp_path)
    assert containers._resource_limits(node) == {
        "nano_cpus": 1_500_000_000,
        "mem_limit": "900m",
        "memswap_limit": "900m",
    }
    assert containers._resource_limits(ProcessSpec(SUPERLINK, (), tmp_path)) == {}
