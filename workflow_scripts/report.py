"""Writes the report: one self-contained page, and its figures as SVG files."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Reads the results by their fixed names and writes the page."""
    from blossomtune.reporting import page

    arguments = build_parser(__doc__)
    arguments.add_argument("--results", type=Path, required=True, help="results directory")
    arguments.add_argument("--output", type=Path, required=True, help="directory to write")
    given = arguments.parse_args()
    page.write_report(given.config, given.results, given.output)


if __name__ == "__main__":
    run_script(main)
