"""Draw a partition: training rows per client and label."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Read the partition's manifest and write the figure."""
    from blossomtune.artifacts.checksums import verify_outputs
    from blossomtune.artifacts.files import read_artifact
    from blossomtune.artifacts.partition_manifest import PartitionManifest
    from blossomtune.files import write_atomically
    from blossomtune.reporting import charts, partition

    parser = build_parser(__doc__, has_config=False)
    parser.add_argument("--partition", type=Path, required=True, metavar="DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.svg")
    args = parser.parse_args()
    verify_outputs(args.partition, metadata_only=True)
    manifest = read_artifact(args.partition / "manifest.json", PartitionManifest)
    figure = partition.draw_partition(manifest, charts.WIDE_WIDTH).standalone()
    with write_atomically(args.output) as file:
        file.write_text(figure, encoding="utf-8")
    print(f"figure: {args.output}")


if __name__ == "__main__":
    run_script(main)
