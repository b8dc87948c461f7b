"""Write a run file, with which `blossomtune run` and `flwr run` train without Snakemake."""

import os
from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Write the run of one experiment; its paths are relative to the file."""
    parser = build_parser(__doc__)
    for name in ("model", "partition", "preprocessed", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()

    from blossomtune.artifacts.checksums import verify_outputs
    from blossomtune.federation.build_spec import build_spec
    from blossomtune.federation.paths import ServerPaths
    from blossomtune.federation.run import FederatedRun

    verify_outputs(args.model, args.partition, args.preprocessed, metadata_only=True)
    spec = build_spec(args.config, args.model, args.partition, args.preprocessed)
    folder = args.output.parent
    paths = ServerPaths(
        model=Path(os.path.relpath(args.model, folder)),
        preprocessed=Path(os.path.relpath(args.preprocessed, folder)),
        checkpoints=Path("checkpoints"),
        adapter=Path("adapter"),
        history=Path("history.json"),
    )
    FederatedRun(spec=spec, paths=paths).save(args.output)


if __name__ == "__main__":
    run_script(main)
