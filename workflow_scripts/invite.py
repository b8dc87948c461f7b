"""Writes what clients of engine ``external`` are sent, and makes their keys."""

from pathlib import Path

from blossomtune.step import parser, run


def main() -> None:
    """Makes the folders."""
    arguments = parser(__doc__)
    arguments.add_argument("--results", type=Path, required=True, metavar="DIR")
    given = arguments.parse_args()

    from blossomtune.errors import UserError
    from blossomtune.launch.invitation import invite

    if not given.config:
        raise UserError(
            "no experiment of `run` has clients to invite",
            "federation.engine: {name: external, host: ...} is for clients that run themselves",
        )
    for experiment, told in given.config.items():
        model = given.results / "models" / told["model_name"]
        dataset = given.results / "datasets" / told["partition"]["dataset"]
        invite(told, model, dataset, experiment)


if __name__ == "__main__":
    run(main)
