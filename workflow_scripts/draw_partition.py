"""Draws a partition: training rows by client and label."""

import argparse
from pathlib import Path

from blossomtune.cli import run_script


def main() -> None:
    """Reads the partition's manifest and writes the figure."""
    from blossomtune.artifacts.partition_manifest import PartitionManifest
    from blossomtune.artifacts.reader import read_artifact
    from blossomtune.files import write_atomically
    from blossomtune.reporting import partition, svg

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--partition", type=Path, required=True, metavar="DIR")
    arguments.add_argument("--output", type=Path, required=True, metavar="FILE.svg")
    given = arguments.parse_args()
    manifest = read_artifact(given.partition / "manifest.json", PartitionManifest)
    with write_atomically(given.output) as file:
        file.write_text(
            partition.draw_partition(manifest, svg.WIDE_WIDTH).standalone(), encoding="utf-8"
        )


if __name__ == "__main__":
    run_script(main)
