"""Fetches a base model and writes it as a plain safetensors directory."""

from pathlib import Path

from blossomtune.step import parser, run


def main() -> None:
    """Runs the fetch_model stage."""
    arguments = parser(__doc__)
    arguments.add_argument("--output", type=Path, required=True, metavar="DIR")
    given = arguments.parse_args()

    from blossomtune.data import models
    from blossomtune.files import atomic

    with atomic(given.output, directory=True) as folder:
        provenance = models.build(given.config, folder)
    print(f"{provenance['parameters'] / 1e6:.1f} million parameters, {provenance['licence']}")


if __name__ == "__main__":
    run(main)
