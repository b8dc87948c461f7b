"""Writes what clients of engine ``external`` are sent, and makes their keys."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Makes the folders."""
    arguments = build_parser(__doc__)
    arguments.add_argument("--results", type=Path, required=True, metavar="DIR")
    given = arguments.parse_args()

    from blossomtune.deployment.client_bundle import write_client_bundles
    from blossomtune.errors import UserError

    if not given.config:
        raise UserError(
            "no experiment of `run` has clients to invite",
            "federation.engine: {name: external, host: ...} is for clients that run themselves",
        )
    for experiment, told in given.config.items():
        model = given.results / "models" / told["model_name"]
        dataset = given.results / "datasets" / told["partition"]["dataset"]
        write_client_bundles(told, model, dataset, experiment)


if __name__ == "__main__":
    run_script(main)
