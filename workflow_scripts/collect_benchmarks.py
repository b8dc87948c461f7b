"""Collect the scores of an experiment's models on its benchmarks."""

from pathlib import Path

from blossomtune.cli import build_parser, parse_named_paths, run_script


def main() -> None:
    """Read the scores of each model, compare them, and write benchmarks.json."""
    from blossomtune.artifacts.benchmark_leaks import BenchmarkLeaks
    from blossomtune.artifacts.benchmarks import ModelBenchmarks
    from blossomtune.artifacts.files import read_artifact, write_artifact
    from blossomtune.benchmarks.compare import compare_benchmarks

    parser = build_parser(__doc__, has_config=False)
    parser.add_argument(
        "--scores",
        nargs="+",
        required=True,
        metavar="NAME=FILE",
        help="of base, federated, centralised, local_0, …",
    )
    parser.add_argument(
        "--leaks", type=Path, required=True, metavar="FILE", help="by find_benchmark_leaks.py"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    args = parser.parse_args()
    files = parse_named_paths(args.scores)
    models = {name: read_artifact(file, ModelBenchmarks) for name, file in files.items()}
    leaks = read_artifact(args.leaks, BenchmarkLeaks)
    write_artifact(args.output, compare_benchmarks(models, leaks))


if __name__ == "__main__":
    run_script(main)
