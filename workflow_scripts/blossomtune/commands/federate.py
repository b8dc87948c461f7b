"""Train an adapter by rounds of training on the clients and aggregation on the server."""

import os
import time
from pathlib import Path

from blossomtune.cli import build_parser

SLURM_JOB_VARIABLE = "SLURM_JOB_ID"
"""Environment variable of a Slurm job; only Slurm ends a job after its ``runtime``."""


def main() -> None:
    """Run the federation of one experiment on its engine."""
    start_time = time.monotonic()
    parser = build_parser(__doc__)
    for name in ("model", "partition", "preprocessed", "adapter", "history", "checkpoints"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--logs", type=Path, required=True, help="of SuperLink and SuperNodes")
    parser.add_argument(
        "--trackers", type=Path, metavar="FILE", default="none", help="with their names"
    )
    parser.add_argument("--tracking", type=Path, metavar="DIR", help="of all trackers")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="the job's time limit, where it has one")
    args = parser.parse_args()

    from blossomtune.artifacts.checksums import verify_outputs, write_checksums
    from blossomtune.deployment.train_on_engine import train_on_engine
    from blossomtune.federation.build_spec import build_spec
    from blossomtune.federation.paths import ServerPaths, TrackerPaths
    from blossomtune.federation.resources import Resources
    from blossomtune.federation.run import FederatedRun

    verify_outputs(args.model, args.partition, args.preprocessed)
    paths = {k: v.resolve() for k, v in vars(args).items() if isinstance(v, Path)}
    logs, partition = paths.pop("logs"), paths.pop("partition")
    config, folder = paths.pop("trackers"), paths.pop("tracking", None)
    trackers = TrackerPaths(config=config, folder=folder) if folder and config.exists() else None
    has_deadline = args.minutes and SLURM_JOB_VARIABLE in os.environ
    deadline = start_time + 60 * args.minutes if has_deadline else None
    spec = build_spec(args.config, paths["model"], partition, paths["preprocessed"])
    resources = Resources(cores=args.cores, deadline=deadline)
    run = FederatedRun(
        spec=spec, paths=ServerPaths(**paths), resources=resources, trackers=trackers
    )
    train_on_engine(run, logs)
    write_checksums(args.adapter, "federate", args.history)
