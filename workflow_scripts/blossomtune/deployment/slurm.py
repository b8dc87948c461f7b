"""The slurm engine: inside one allocation, the SuperLink beside us, SuperNodes on all its nodes.

Every part is a container of Apptainer; ``srun`` takes those of SuperNodes to their nodes. The
working directory and the folder of keys must be on a file system that the nodes share.
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
"""Run by a shell on a node: of the GPUs that Slurm gave the job there, a container gets one.

Its arguments are the container program in capitals, what the GPUs are called where Slurm does not
say it, which of them it is (1, 2, …), and the command.
"""


class SlurmBackend(ApptainerBackend):
    """Parts as steps of this process's job; see ``Runner``.

    Args:
        logs: a folder for what they say.
        scratch: a folder of this run, which its guard removes; all nodes must see it.
        engine: the image.
    """

    listen_address = "0.0.0.0"  # noqa: S104 - the nodes of the allocation reach it

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
        here = _scontrol_show("node", os.environ["SLURMD_NODENAME"])
        self.host, self.num_machines = here.split("NodeAddr=")[1].split()[0], len(self._hostnames)
        return super().__enter__()

    def build_command(self, spec: ProcessSpec) -> list[str]:
        """How to start a part."""
        inside = super().build_command(spec)
        if spec.client is None:
            return inside
        node = self._hostnames[spec.client % self.num_machines]
        # Steps share what the job has (--overlap): who trains on which GPU is said by us.
        step = ["srun", "--overlap", "--nodes=1", "--ntasks=1", "--mem=0", f"--nodelist={node}"]
        step += ["--cpu-bind=none", f"--job-name={spec.name}", "--kill-on-bad-exit=1"]
        if spec.gpu_index is not None:
            words = [
                self._executable.upper(),
                ",".join(list_visible_gpus()),
                str(spec.gpu_index + 1),
            ]
            step += ["sh", "-c", SELECT_GPU_SCRIPT, "sh", *words]
        return [*step, *inside]

    def gpu_environment(self, spec: ProcessSpec) -> dict[str, str]:
        """Nothing: what GPUs are called on a part's node is not known here."""
        return {}


def _scontrol_show(entity: str, name: str) -> str:
    """What Slurm tells of itself."""
    command = ["scontrol", "show", entity, name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
