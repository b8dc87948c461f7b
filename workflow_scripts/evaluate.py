"""Score base, federated model and baselines on the same held-out rows."""

from pathlib import Path

from blossomtune.artifacts.checksums import verify_outputs
from blossomtune.artifacts.files import write_artifact
from blossomtune.cli import build_parser, parse_named_paths, run_script
from blossomtune.evaluation.rows import load_evaluation_set


def main() -> None:
    """Read the rows, score the models, and write metrics and answers."""
    parser = build_parser(__doc__)
    for name in ("base", "merged", "preprocessed", "partition", "dataset", "output", "answers"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="the adapter of a baseline: centralised, local_0, local_1, …",
    )
    parser.add_argument("--cores", type=int, required=True)
    args = parser.parse_args()

    baselines = parse_named_paths(args.baseline)
    verify_outputs(args.base, args.merged, args.preprocessed, args.partition, args.dataset)
    verify_outputs(*baselines.values())
    evaluation_set = load_evaluation_set(
        args.preprocessed, args.partition, args.dataset, args.config
    )

    import torch  # after the settings are checked, which needs no torch

    from blossomtune.artifacts.answers import write_answers
    from blossomtune.artifacts.result_line import describe_result
    from blossomtune.evaluation.compare import evaluate_models
    from blossomtune.evaluation.stored_model import StoredModel

    # Cores change the order in which float32 sums are taken: the last digits of a loss, and an
    # answer only where two choices are equally likely to six digits.
    torch.set_num_threads(args.cores)
    models = {"base": StoredModel(args.base), "federated": StoredModel(args.merged)}
    models |= {name: StoredModel(args.base, adapter) for name, adapter in baselines.items()}
    evaluation, answers = evaluate_models(models, evaluation_set, args.config)
    write_answers(args.answers, answers)
    write_artifact(args.output, evaluation)
    print(
        describe_result(
            evaluation.base,
            evaluation.federated,
            evaluation.difference["base"],
            evaluation.leaked,
            evaluation.without_leaks,
        )
    )


if __name__ == "__main__":
    run_script(main)
