"""Fetch a data set and write its training rows and its held-out test rows."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script, write_benchmark


def main() -> None:
    """Run the download stage."""
    parser = build_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--members", type=Path, nargs="*", default=[], metavar="DIR", help="of a mixture, in order"
    )
    parser.add_argument("--benchmark", type=Path, metavar="FILE")
    args = parser.parse_args()

    from blossomtune.artifacts.checksums import verify_outputs, write_checksums
    from blossomtune.data.preparation import build_dataset
    from blossomtune.files import write_atomically

    verify_outputs(*args.members)
    with write_benchmark(args.benchmark), write_atomically(args.output, directory=True) as folder:
        manifest = build_dataset.build_dataset(args.config, folder, args.members)
    write_checksums(args.output, "download")
    print("rows: " + ", ".join(f"{count} {kind}" for kind, count in manifest.rows))


if __name__ == "__main__":
    run_script(main)
