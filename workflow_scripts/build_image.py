"""Build the container image that every stage runs in under --use-singularity."""

import sys
from pathlib import Path

from blossomtune.artifacts.checksums import write_checksums
from blossomtune.cli import build_parser, run_script
from blossomtune.deployment import apptainer_image


def main() -> None:
    """Parse the arguments and build the image."""
    parser = build_parser(__doc__, has_config=False)
    parser.add_argument("--base", required=True, help="docker://... or a folder")
    parser.add_argument("--definition", type=Path, required=True)
    parser.add_argument("--lock", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    size = apptainer_image.build_image(args.definition, args.lock, args.base, args.output)
    write_checksums(args.output, "container")
    print(f"{args.output}: {size / 1e6:.0f} MB", file=sys.stderr)


if __name__ == "__main__":
    run_script(main)
