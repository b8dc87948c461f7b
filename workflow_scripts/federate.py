"""Trains an adapter together: rounds of training on the clients and averaging on the server."""

import os
import time
from pathlib import Path

from blossomtune.cli import build_parser, run_script

IN_JOB = "SLURM_JOB_ID"
"""The variable that a job of Slurm has: elsewhere ``runtime`` stops nobody."""


def main() -> None:
    """Runs the federation of one experiment on the engine that it names."""
    started = time.time()
    arguments = build_parser(__doc__)
    for name in ("model", "partition", "preprocessed", "adapter", "history", "checkpoints"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    arguments.add_argument("--logs", type=Path, required=True, help="of SuperLink and SuperNodes")
    arguments.add_argument("--cores", type=int, default=1)
    arguments.add_argument("--minutes", type=float, help="the job's time limit, where it has one")
    given = vars(arguments.parse_args())

    from blossomtune.deployment.gpu_allocation import resolve_gpu_share
    from blossomtune.deployment.session import deploy
    from blossomtune.deployment.simulation import simulate
    from blossomtune.federation.build_run import build_run

    paths = {k: v.resolve() for k, v in given.items() if isinstance(v, Path)}
    logs = paths.pop("logs")
    deadline = (
        started + 60 * given["minutes"] if given["minutes"] and IN_JOB in os.environ else None
    )
    job = resolve_gpu_share(
        build_run(given["config"], cores=given["cores"], deadline=deadline, **paths)
    )
    if job.federation.engine.name == "simulation":
        simulate(job)
    else:
        deploy(job, logs)


if __name__ == "__main__":
    run_script(main)
