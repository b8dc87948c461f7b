"""Fetch a base model and write it as a plain safetensors directory."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script, write_benchmark


def main() -> None:
    """Run the fetch_model stage."""
    parser = build_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--benchmark", type=Path, metavar="FILE")
    args = parser.parse_args()

    from blossomtune.artifacts.checksums import write_checksums
    from blossomtune.data import fetch_model
    from blossomtune.files import write_atomically

    with write_benchmark(args.benchmark), write_atomically(args.output, directory=True) as folder:
        provenance = fetch_model.fetch_model(args.config, folder)
    write_checksums(args.output, "fetch_model")
    print(f"{provenance.parameters / 1e6:.1f} million parameters, {provenance.licence}")


if __name__ == "__main__":
    run_script(main)
