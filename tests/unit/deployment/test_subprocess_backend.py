from pathlib import Path

from blossomtune.config.engines import ProcessEngine
from blossomtune.deployment.backend import ProcessSpec
from blossomtune.deployment.subprocess_backend import SubprocessBackend


def test_process_sees_only_its_own_gpu(two_gpus, tmp_path):
    backend = SubprocessBackend(tmp_path, tmp_path, ProcessEngine(name="process"))
    with_gpu = ProcessSpec("supernode_3", (), Path("/tmp/a"), gpu_indices=(1,))
    with_gpus = ProcessSpec("supernode_3", (), Path("/tmp/a"), gpu_indices=(0, 1))
    without_gpu = ProcessSpec("supernode_3", (), Path("/tmp/a"))
    assert backend.build_environment(with_gpu)["CUDA_VISIBLE_DEVICES"] == "GPU-a0"
    assert backend.build_environment(with_gpus)["CUDA_VISIBLE_DEVICES"] == "5,GPU-a0"
    assert backend.build_environment(without_gpu)["CUDA_VISIBLE_DEVICES"] == "5,GPU-a0"
