"""Draws a partition: training rows by client and label."""

import argparse
from pathlib import Path

from blossomtune.step import run


def main() -> None:
    """Reads the partition's manifest and writes the figure."""
    from blossomtune.files import atomic
    from blossomtune.reporting import partition, svg
    from blossomtune.reporting.manifests import PartitionManifest, read

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--partition", type=Path, required=True, metavar="DIR")
    arguments.add_argument("--output", type=Path, required=True, metavar="FILE.svg")
    given = arguments.parse_args()
    manifest = read(given.partition / "manifest.json", PartitionManifest)
    with atomic(given.output) as file:
        file.write_text(partition.draw(manifest, svg.WIDE).standalone(), encoding="utf-8")


if __name__ == "__main__":
    run(main)
