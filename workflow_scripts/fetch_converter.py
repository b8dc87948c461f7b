"""Fetch llama.cpp's converters to GGUF, as Python files that are not compiled."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script
from blossomtune.files import write_atomically


def main() -> None:
    """Download the archive and write the converters as one directory."""
    parser = build_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()

    from blossomtune.artifacts.checksums import write_checksums
    from blossomtune.export.converter import fetch_converter

    with write_atomically(args.output, directory=True) as folder:
        fetch_converter(args.config, folder)
    write_checksums(args.output, "fetch_converter")


if __name__ == "__main__":
    run_script(main)
