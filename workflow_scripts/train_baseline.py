"""Trains a control: the steps of a federation on pooled rows, or on one client's alone."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Trains one control of one experiment."""
    arguments = build_parser(__doc__)
    for name in ("model", "partition", "preprocessed", "adapter", "history", "checkpoints"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    arguments.add_argument("--name", required=True, help="centralised, or local_0, local_1, …")
    given = vars(arguments.parse_args())

    from blossomtune.training import baseline_schedule, baselines

    files = {k: v for k, v in given.items() if isinstance(v, Path)}
    baselines.train_baseline(
        baseline_schedule.Baseline.from_name(given["name"], given["config"]),
        adapter_dir=files.pop("adapter"),
        **files,
    )


if __name__ == "__main__":
    run_script(main)
