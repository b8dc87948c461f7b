"""Fetches a data set and writes its training rows and its held-out test rows."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Runs the download stage."""
    arguments = build_parser(__doc__)
    arguments.add_argument("--output", type=Path, required=True, metavar="DIR")
    arguments.add_argument(
        "--members", type=Path, nargs="*", default=[], metavar="DIR", help="of a mixture, in order"
    )
    given = arguments.parse_args()

    from blossomtune.data.preparation import build_dataset
    from blossomtune.files import write_atomically

    with write_atomically(given.output, directory=True) as folder:
        manifest = build_dataset.build_dataset(given.config, folder, given.members)
    print("rows: " + ", ".join(f"{count} {what}" for what, count in manifest["rows"].items()))


if __name__ == "__main__":
    run_script(main)
