"""Writes the report: one self-contained page, and its figures as SVG files."""

from pathlib import Path

from blossomtune.step import parser, run


def main() -> None:
    """Reads the results by their fixed names and writes the page."""
    from blossomtune.reporting import page

    arguments = parser(__doc__)
    arguments.add_argument("--results", type=Path, required=True, help="results directory")
    arguments.add_argument("--output", type=Path, required=True, help="directory to write")
    given = arguments.parse_args()
    page.write(given.config, given.results, given.output)


if __name__ == "__main__":
    run(main)
