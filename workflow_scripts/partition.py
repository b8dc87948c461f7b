"""Cuts the training rows of a data set into clients."""

from pathlib import Path

from blossomtune.step import parser, run


def main() -> None:
    """Runs the partition stage."""
    arguments = parser(__doc__)
    arguments.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    arguments.add_argument("--output", type=Path, required=True, metavar="DIR")
    given = arguments.parse_args()

    from blossomtune.data.cutting import partition
    from blossomtune.files import atomic

    with atomic(given.output, directory=True) as folder:
        manifest = partition.build(given.config, given.dataset, folder)
    for client in manifest["clients"]:
        rows = "rows of its own" if client["rows"] is None else f"{client['rows']} rows"
        print(f"client {client['client']} ({client['name']}): {rows}")


if __name__ == "__main__":
    run(main)
