import subprocess
from pathlib import Path

import pytest

from blossomtune.config.engines import SlurmEngine
from blossomtune.deployment.backend import SUPERLINK, ProcessSpec
from blossomtune.deployment.slurm import SlurmBackend
from blossomtune.errors import UserError


@pytest.mark.parametrize(
    ("node_variables", "expected"), [({"CUDA_VISIBLE_DEVICES": "0,7"}, "7"), ({}, "GPU-a0")]
)
def test_step_sees_only_its_own_gpu_of_its_node(two_gpus, tmp_path, node_variables, expected):
    """Run the command of the node, with a program in place of Apptainer that prints the GPU."""
    backend = SlurmBackend(tmp_path, tmp_path, SlurmEngine(name="slurm"))
    backend._executable, backend._hostnames, backend.num_machines = "apptainer", ["a", "b"], 2
    with_gpu = ProcessSpec("supernode_3", (), Path("/tmp/a"), gpu_indices=(1,))
    with_gpus = ProcessSpec("supernode_3", (), Path("/tmp/a"), gpu_indices=(0, 1))
    without_gpu = ProcessSpec("supernode_3", (), Path("/tmp/a"))
    command = backend.build_command(with_gpu)
    assert "--nodelist=b" in command
    assert "--nv" in command
    shell = command[command.index("sh") : command.index("apptainer")]
    process = subprocess.run(
        [*shell, "printenv", "APPTAINERENV_CUDA_VISIBLE_DEVICES"],
        env={"PATH": "/usr/bin:/bin"} | node_variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == f"{expected}\n"
    command = backend.build_command(with_gpus)
    assert command[command.index("APPTAINER") + 2] == "1,2"
    assert "sh" not in backend.build_command(without_gpu)
    assert "--nv" not in backend.build_command(ProcessSpec(SUPERLINK, (), Path("/tmp/a")))


def test_superlink_listens_for_all_nodes(tmp_path):
    backend = SlurmBackend(tmp_path, tmp_path, SlurmEngine(name="slurm"))
    assert backend.listen_address == "0.0.0.0"


def test_engine_outside_of_a_job_is_an_error(monkeypatch, tmp_path):
    monkeypatch.delenv("SLURM_JOB_NODELIST", raising=False)
    with pytest.raises(UserError, match="runs inside of a job of Slurm, and this is none"):
        SlurmBackend(tmp_path, tmp_path, SlurmEngine(name="slurm")).__enter__()
