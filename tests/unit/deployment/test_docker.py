"""Errors of the docker engine before a run, and the settings of its containers."""

import pytest

from blossomtune.config.engines import DockerEngine
from blossomtune.deployment.backend import SUPERLINK, ProcessSpec
from blossomtune.deployment.docker import DockerBackend, _device_requests, _require_world_readable
from blossomtune.errors import UserError


def test_files_that_only_root_can_read_are_an_error(tmp_path):
    file = tmp_path / "model" / "model.safetensors"
    file.parent.mkdir()
    file.touch()
    file.chmod(0o644)
    _require_world_readable(file.parent)
    file.chmod(0o600)
    with pytest.raises(UserError, match=r"model\.safetensors can be read by root alone"):
        _require_world_readable(file.parent)


def test_limits_apply_to_supernodes_only(tmp_path):
    backend = DockerBackend(
        tmp_path, tmp_path, DockerEngine(name="docker", memory_mb=900, cpus=1.5)
    )
    supernode = ProcessSpec("supernode_0", (), tmp_path)
    assert backend._resource_limits(supernode) == {
        "nano_cpus": 1_500_000_000,
        "mem_limit": "900m",
        "memswap_limit": "900m",
    }
    assert backend._resource_limits(ProcessSpec(SUPERLINK, (), tmp_path)) == {}


def test_container_sees_only_its_own_gpu(two_gpus, tmp_path):
    [request] = _device_requests(ProcessSpec("supernode_3", (), tmp_path, gpu_indices=(1,)))
    assert request["DeviceIDs"] == ["GPU-a0"]
    assert request["Capabilities"] == [["gpu"]]
    assert request["Count"] == 0
    assert _device_requests(ProcessSpec("supernode_3", (), tmp_path)) == []
