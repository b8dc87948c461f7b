"""Fetches a data set and writes its training rows and its held-out test rows."""

from pathlib import Path

from blossomtune.step import parser, run


def main() -> None:
    """Runs the download stage."""
    arguments = parser(__doc__)
    arguments.add_argument("--output", type=Path, required=True, metavar="DIR")
    arguments.add_argument(
        "--members", type=Path, nargs="*", default=[], metavar="DIR", help="of a mixture, in order"
    )
    given = arguments.parse_args()

    from blossomtune.data.tables import dataset
    from blossomtune.files import atomic

    with atomic(given.output, directory=True) as folder:
        manifest = dataset.build(given.config, folder, given.members)
    print("rows: " + ", ".join(f"{count} {what}" for what, count in manifest["rows"].items()))


if __name__ == "__main__":
    run(main)
