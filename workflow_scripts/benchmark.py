"""Score one model on the benchmarks of an experiment, by lm-evaluation-harness."""

import os
import tempfile
from contextlib import closing
from pathlib import Path

from blossomtune.artifacts.checksums import verify_outputs
from blossomtune.artifacts.files import write_artifact
from blossomtune.cli import build_parser, parse_named_paths, run_script


def main() -> None:
    """Load tasks and model, and write the scores."""
    parser = build_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR")
    parser.add_argument("--adapter", type=Path, metavar="DIR", help="of a baseline")
    parser.add_argument(
        "--dataset", action="append", default=[], metavar="NAME=DIR", help="that a benchmark reads"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--cores", type=int, required=True)
    args = parser.parse_args()

    datasets = parse_named_paths(args.dataset)
    adapters = [args.adapter] if args.adapter else []
    verify_outputs(args.model, *adapters, *datasets.values())
    os.environ["TQDM_MININTERVAL"] = "30"  # seconds between lines of the log
    os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"  # else local files, too, are counted on the hub
    if any(benchmark["allow_code_execution"] for benchmark in args.config["benchmarks"]):
        os.environ["HF_ALLOW_CODE_EVAL"] = "1"
    from blossomtune.benchmarks.load_tasks import load_benchmarks

    with tempfile.TemporaryDirectory() as scratch:
        # first of all, since a name may be wrong
        manager, benchmarks = load_benchmarks(args.config["benchmarks"], datasets, Path(scratch))
        import torch

        from blossomtune.benchmarks.harness_model import load_harness_model
        from blossomtune.benchmarks.score_model import score_model
        from blossomtune.evaluation.stored_model import StoredModel

        torch.set_num_threads(args.cores)
        stored = StoredModel(args.model, args.adapter)
        with closing(load_harness_model(stored, args.config)) as model:
            scores = score_model(model, manager, benchmarks)
    write_artifact(args.output, scores)
    for name, task in scores.tasks.items():
        if task.group is None:
            print(f"{name}: {task.main_metric} {task.scores[task.main_metric].value:.4f}")


if __name__ == "__main__":
    run_script(main)
