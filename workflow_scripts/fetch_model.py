"""Fetches a base model and writes it as a plain safetensors directory."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Runs the fetch_model stage."""
    arguments = build_parser(__doc__)
    arguments.add_argument("--output", type=Path, required=True, metavar="DIR")
    given = arguments.parse_args()

    from blossomtune.data import fetch_model
    from blossomtune.files import write_atomically

    with write_atomically(given.output, directory=True) as folder:
        provenance = fetch_model.fetch_model(given.config, folder)
    print(f"{provenance['parameters'] / 1e6:.1f} million parameters, {provenance['licence']}")


if __name__ == "__main__":
    run_script(main)
