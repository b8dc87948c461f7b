"""The slurm engine: inside one allocation, the SuperLink beside us, SuperNodes on all its nodes.

Every part is a container of Apptainer; ``srun`` takes those of SuperNodes to their nodes. The
working directory and the folder of keys must be on a file system that the nodes share.
"""

import os
import subprocess
from pathlib import Path
from typing import Self

from blossomtune.config.engines import Slurm
from blossomtune.errors import UserError
from blossomtune.launch.apptainer import Instances
from blossomtune.launch.parts import Part


class Steps(Instances):
    """Parts as steps of this process's job; see ``Runner``.

    Args:
        logs: a folder for what they say.
        scratch: a folder of this run, which its guard removes; all nodes must see it.
        engine: the image.
    """

    listens = "0.0.0.0"  # noqa: S104 - the nodes of the allocation reach it

    def __init__(self, logs: Path, scratch: Path, engine: Slurm) -> None:
        super().__init__(logs, scratch, engine)
        self._nodes: list[str] = []

    def __enter__(self) -> Self:
        if "SLURM_JOB_NODELIST" not in os.environ:
            raise UserError(
                "federation.engine: slurm runs inside of a job of Slurm, and this is none",
                "snakemake --profile profiles/slurm, or another engine",
            )
        self._nodes = subprocess.run(  # noqa: S603
            ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        self.host = os.environ["SLURMD_NODENAME"]
        return super().__enter__()

    def command(self, part: Part) -> list[str]:
        """How to start a part."""
        inside = super().command(part)
        if part.client is None:
            return inside
        node = self._nodes[part.client % len(self._nodes)]
        # Steps share what the job has (--overlap): who trains on which GPU is said by us.
        step = ["srun", "--overlap", "--nodes=1", "--ntasks=1", "--mem=0", f"--nodelist={node}"]
        return [*step, f"--job-name={part.name}", "--kill-on-bad-exit=1", *inside]
