"""Cuts the training rows of a data set into clients."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Runs the partition stage."""
    arguments = build_parser(__doc__)
    arguments.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    arguments.add_argument("--output", type=Path, required=True, metavar="DIR")
    given = arguments.parse_args()

    from blossomtune.data.partitioning import build_partition
    from blossomtune.files import write_atomically

    with write_atomically(given.output, directory=True) as folder:
        manifest = build_partition.build_partition(given.config, given.dataset, folder)
    for client in manifest["clients"]:
        rows = "rows of its own" if client["rows"] is None else f"{client['rows']} rows"
        print(f"client {client['client']} ({client['name']}): {rows}")


if __name__ == "__main__":
    run_script(main)
