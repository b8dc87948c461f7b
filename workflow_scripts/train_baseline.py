"""Train a baseline: the steps of a federation on pooled rows, or on one client's alone."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Train one baseline of one experiment."""
    parser = build_parser(__doc__)
    for name in ("model", "partition", "preprocessed", "adapter", "history", "checkpoints"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--name", required=True, help="centralised, or local_0, local_1, …")
    args = parser.parse_args()

    from blossomtune.artifacts.checksums import verify_outputs, write_checksums
    from blossomtune.training import baseline_schedule, baselines

    verify_outputs(args.model, args.partition, args.preprocessed)
    paths = {k: v for k, v in vars(args).items() if isinstance(v, Path)}
    baselines.train_baseline(
        baseline_schedule.Baseline.from_name(args.name, args.config),
        adapter_dir=paths.pop("adapter"),
        **paths,
    )
    write_checksums(args.adapter, "train_baseline", args.history)


if __name__ == "__main__":
    run_script(main)
