"""Assign the training rows of a data set to clients."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script, write_benchmark


def main() -> None:
    """Run the partition stage."""
    parser = build_parser(__doc__)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--benchmark", type=Path, metavar="FILE")
    args = parser.parse_args()

    from blossomtune.artifacts.checksums import verify_outputs, write_checksums
    from blossomtune.data.partitioning import build_partition
    from blossomtune.files import write_atomically

    verify_outputs(args.dataset)
    with write_benchmark(args.benchmark), write_atomically(args.output, directory=True) as folder:
        manifest = build_partition.build_partition(args.config, args.dataset, folder)
    write_checksums(args.output, "partition")
    for client in manifest.clients:
        rows = "rows of its own" if client.rows is None else f"{client.rows} rows"
        if skipped := sum(reading.skipped for reading in client.readings or []):
            rows += f", {skipped} skipped"
        print(f"client {client.client} ({client.name}): {rows}")


if __name__ == "__main__":
    run_script(main)
