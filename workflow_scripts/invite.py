"""Write what clients of engine ``external`` are sent, and make their keys."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Write one folder per client of each external experiment."""
    parser = build_parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()

    from blossomtune.artifacts.checksums import verify_outputs
    from blossomtune.deployment.client_bundle import write_client_bundles
    from blossomtune.errors import UserError

    if not args.config:
        raise UserError(
            "no experiment of `run` has clients to invite",
            "federation.engine: {name: external, host: ...} is for clients that run themselves",
        )
    for experiment, settings in args.config.items():
        model = args.results / "models" / settings["model_name"]
        dataset = args.results / "datasets" / settings["partition"]["dataset"]
        verify_outputs(model, dataset, metadata_only=True)  # only their manifests are read
        write_client_bundles(settings, model, dataset, experiment)


if __name__ == "__main__":
    run_script(main)
