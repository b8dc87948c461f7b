"""Write the report: one self-contained page, and its figures as SVG files."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Read the results by their fixed names and write the page."""
    from blossomtune.artifacts.checksums import verify_outputs
    from blossomtune.reporting import page
    from blossomtune.reporting.result_folders import ResultFolders

    parser = build_parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="results directory")
    parser.add_argument("--output", type=Path, required=True, help="directory to write")
    args = parser.parse_args()
    configuration = args.config["configuration"]
    for name in configuration["run"]:
        folders = ResultFolders.find(args.results, configuration, name)
        verify_outputs(folders.adapter)
        read = (folders.model, folders.dataset, folders.partition, folders.preprocessed)
        verify_outputs(*read, folders.merged, metadata_only=True)
    page.write_report(args.config, args.results, args.output)
    print(f"report: {args.output / 'index.html'}")


if __name__ == "__main__":
    run_script(main)
