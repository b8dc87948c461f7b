"""Run the SuperLink in this Slurm job, and SuperNodes as job steps on all of its nodes.

Each process runs in an Apptainer container. The nodes must share the file systems of the working
directory and of the folder of keys.
"""

import os
import subprocess
from pathlib import Path
from typing import Self

from blossomtune.config.engines import SlurmEngine
from blossomtune.deployment.apptainer import ApptainerBackend
from blossomtune.deployment.backend import ProcessSpec
from blossomtune.errors import UserError
from blossomtune.gpus import list_visible_gpus

SELECT_GPU_SCRIPT = (
    'export "$1"ENV_CUDA_VISIBLE_DEVICES="$(echo "${CUDA_VISIBLE_DEVICES:-$2}" | cut -d, -f"$3")"; '
    'shift 3; exec "$@"'
)
"""Shell script that runs a command on a node with some of the GPUs that the job has there.

Arguments: the container program in capitals, the GPUs if Slurm does not set CUDA_VISIBLE_DEVICES,
the numbers of the GPUs (1,2,…), and the command.
"""


class SlurmBackend(ApptainerBackend):
    """Backend that runs SuperNodes as steps of this process's Slurm job.

    Args:
        log_dir: Folder for the processes' output.
        scratch_dir: Folder of this run, on a file system that all nodes share.
        engine: The image.
    """

    listen_address = "0.0.0.0"  # noqa: S104 - other nodes of the allocation connect

    def __init__(self, log_dir: Path, scratch_dir: Path, engine: SlurmEngine) -> None:
        super().__init__(log_dir, scratch_dir, engine)
        self._hostnames: list[str] = []

    def __enter__(self) -> Self:
        if "SLURM_JOB_NODELIST" not in os.environ:
            raise UserError(
                "federation.engine: slurm runs inside of a job of Slurm, and this is none",
                "snakemake --profile profiles/slurm, or another engine",
            )
        self._hostnames = _scontrol_show("hostnames", os.environ["SLURM_JOB_NODELIST"]).split()
        self.num_machines = len(self._hostnames)
        this_node = _scontrol_show("node", os.environ["SLURMD_NODENAME"])
        self.host = this_node.split("NodeAddr=")[1].split()[0]
        return super().__enter__()

    def build_command(self, spec: ProcessSpec) -> list[str]:
        """Return the command that starts a process, on its client's node."""
        command = super().build_command(spec)
        if spec.client is None:
            return command
        node = self._hostnames[spec.client % self.num_machines]
        # --overlap: steps share the job's GPUs, which SELECT_GPU_SCRIPT assigns
        step = ["srun", "--overlap", "--nodes=1", "--ntasks=1", "--mem=0", f"--nodelist={node}"]
        step += ["--cpu-bind=none", f"--job-name={spec.name}", "--kill-on-bad-exit=1"]
        if spec.gpu_indices:
            gpus = ",".join(list_visible_gpus())
            step += ["sh", "-c", SELECT_GPU_SCRIPT, "sh"]
            numbers = ",".join(str(index + 1) for index in spec.gpu_indices)
            step += [self._executable.upper(), gpus, numbers]
        return [*step, *command]

    def gpu_environment(self, spec: ProcessSpec) -> dict[str, str]:
        """Return no variables: the names of GPUs on other nodes are not known here."""
        return {}


def _scontrol_show(entity: str, name: str) -> str:
    command = ["scontrol", "show", entity, name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
