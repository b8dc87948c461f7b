"""Builds the container image that every stage runs in under --use-singularity."""

import argparse
import sys
from pathlib import Path

from blossomtune.cli import run_script
from blossomtune.deployment import apptainer_image


def main() -> None:
    """Parses the arguments and builds the image."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--base", required=True, help="docker://... or a folder")
    arguments.add_argument("--definition", type=Path, required=True)
    arguments.add_argument("--lock", type=Path, required=True)
    arguments.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()
    size = apptainer_image.build_image(given.definition, given.lock, given.base, given.output)
    print(f"{given.output}: {size / 1e6:.0f} MB", file=sys.stderr)


if __name__ == "__main__":
    run_script(main)
