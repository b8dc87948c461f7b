"""Trains an adapter together: rounds of training on the clients and averaging on the server."""

import os
import time
from pathlib import Path

from blossomtune.step import parser, run

IN_JOB = "SLURM_JOB_ID"
"""The variable that a job of Slurm has: elsewhere ``runtime`` stops nobody."""


def main() -> None:
    """Runs the federation of one experiment on the engine that it names."""
    started = time.time()
    arguments = parser(__doc__)
    for name in ("model", "partition", "preprocessed", "adapter", "history", "checkpoints"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    arguments.add_argument("--logs", type=Path, required=True, help="of SuperLink and SuperNodes")
    arguments.add_argument("--cores", type=int, default=1)
    arguments.add_argument("--minutes", type=float, help="the job's time limit, where it has one")
    given = vars(arguments.parse_args())

    from blossomtune.federation.job import describe
    from blossomtune.launch.deployment import deploy
    from blossomtune.launch.gpus import settled
    from blossomtune.launch.simulation import simulate

    paths = {k: v.resolve() for k, v in given.items() if isinstance(v, Path)}
    logs = paths.pop("logs")
    until = started + 60 * given["minutes"] if given["minutes"] and IN_JOB in os.environ else None
    job = settled(describe(given["config"], cores=given["cores"], until=until, **paths))
    if job.federation.engine.name == "simulation":
        simulate(job)
    else:
        deploy(job, logs)


if __name__ == "__main__":
    run(main)
