"""Find questions of an experiment's benchmarks in the rows that its clients train on."""

import os
import tempfile
from pathlib import Path

from blossomtune.artifacts.checksums import verify_outputs
from blossomtune.artifacts.files import write_artifact
from blossomtune.cli import build_parser, parse_named_paths, run_script
from blossomtune.errors import UserError


def main() -> None:
    """Load tasks and training rows, and write which questions leaked."""
    parser = build_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR")
    parser.add_argument("--preprocessed", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--dataset", action="append", default=[], metavar="NAME=DIR", help="that a benchmark reads"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    args = parser.parse_args()

    datasets = parse_named_paths(args.dataset)
    verify_outputs(args.model, args.preprocessed, *datasets.values())
    os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"  # else local files, too, are counted on the hub
    from blossomtune.benchmarks.find_leaks import describe_leaked_questions, find_benchmark_leaks
    from blossomtune.benchmarks.load_tasks import load_benchmarks
    from blossomtune.modeling.tokenizer import load_tokenizer

    with tempfile.TemporaryDirectory() as scratch:
        _, benchmarks = load_benchmarks(args.config["benchmarks"], datasets, Path(scratch))
        leaks = find_benchmark_leaks(benchmarks, args.preprocessed, load_tokenizer(args.model))
    if leaked := describe_leaked_questions(leaks):
        if args.config["leaks"] == "error":
            raise UserError(
                f"evaluation.benchmarks: questions are in the training rows, too: {leaked}",
                "remove the rows from the data set, or set the preprocessing's leaks: report; "
                "scores without these questions are then given, too",
            )
        print(f"in the training rows, too: {leaked}")
    write_artifact(args.output, leaks)


if __name__ == "__main__":
    run_script(main)
