"""Trains a control: the steps of a federation on pooled rows, or on one client's alone."""

from pathlib import Path

from blossomtune.step import parser, run


def main() -> None:
    """Trains one control of one experiment."""
    arguments = parser(__doc__)
    for name in ("model", "partition", "preprocessed", "adapter", "history", "checkpoints"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    arguments.add_argument("--name", required=True, help="centralised, or local_0, local_1, …")
    given = vars(arguments.parse_args())

    from blossomtune.federation import controls

    files = {k: v for k, v in given.items() if isinstance(v, Path)}
    controls.run(
        controls.Control.named(given["name"], given["config"]),
        adapter_dir=files.pop("adapter"),
        **files,
    )


if __name__ == "__main__":
    run(main)
