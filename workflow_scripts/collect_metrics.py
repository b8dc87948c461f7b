"""Collect an experiment's scores on held-out rows and on benchmarks."""

from pathlib import Path

from blossomtune.artifacts.files import read_artifact, write_artifact
from blossomtune.artifacts.metrics import Evaluation, Metrics
from blossomtune.cli import build_parser, parse_named_paths, run_script


def main() -> None:
    """Read the scores, compare the models on the benchmarks, and write metrics.json."""
    parser = build_parser(__doc__, has_config=False)
    parser.add_argument(
        "--evaluation", type=Path, required=True, metavar="FILE", help="by evaluate.py"
    )
    parser.add_argument(
        "--benchmarks",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="by benchmark.py: scores of base, federated, centralised, local_0, …",
    )
    parser.add_argument("--leaks", type=Path, metavar="FILE", help="by find_benchmark_leaks.py")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    args = parser.parse_args()

    benchmarks = None
    if args.benchmarks:
        if not args.leaks:
            parser.error("--benchmarks needs --leaks")
        from blossomtune.artifacts.benchmark_leaks import BenchmarkLeaks
        from blossomtune.artifacts.benchmarks import ModelBenchmarks
        from blossomtune.benchmarks.compare import compare_benchmarks

        files = parse_named_paths(args.benchmarks)
        models = {name: read_artifact(file, ModelBenchmarks) for name, file in files.items()}
        benchmarks = compare_benchmarks(models, read_artifact(args.leaks, BenchmarkLeaks))
    evaluation = read_artifact(args.evaluation, Evaluation)
    write_artifact(args.output, Metrics(**dict(evaluation), benchmarks=benchmarks))


if __name__ == "__main__":
    run_script(main)
