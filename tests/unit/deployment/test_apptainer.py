from pathlib import Path

import pytest

from blossomtune.config.engines import ApptainerEngine
from blossomtune.deployment import apptainer
from blossomtune.deployment.apptainer import ApptainerBackend
from blossomtune.deployment.backend import ProcessSpec
from blossomtune.errors import UserError


def test_container_sees_only_its_own_gpu(two_gpus, tmp_path):
    backend = ApptainerBackend(tmp_path, tmp_path, ApptainerEngine(name="apptainer"))
    backend._executable = "apptainer"
    with_gpu = ProcessSpec("supernode_3", (), Path("/tmp/a"), gpu_indices=(1,))
    without_gpu = ProcessSpec("supernode_3", (), Path("/tmp/a"))
    command = backend.build_command(with_gpu)
    assert "--nv" in command
    assert "CUDA_VISIBLE_DEVICES=GPU-a0" in command
    command_without_gpu = " ".join(backend.build_command(without_gpu))
    assert "--nv" not in command_without_gpu
    assert "CUDA" not in command_without_gpu


def test_missing_image_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(apptainer, "find_apptainer", lambda: "apptainer")
    engine = ApptainerEngine(name="apptainer", image=str(tmp_path / "missing.sif"))
    with pytest.raises(UserError, match=r"engine.image: there is no .*missing.sif\n  hint: app"):
        ApptainerBackend(tmp_path, tmp_path, engine).__enter__()
