"""Scores base, federated model and controls on the same held-out rows."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script
from blossomtune.evaluation.rows import load_evaluation_set
from blossomtune.files import write_json


def main() -> None:
    """Reads the rows, scores the models, writes the metrics."""
    arguments = build_parser(__doc__)
    for name in ("base", "merged", "preprocessed", "partition", "dataset", "output"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    arguments.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="the adapter of a baseline: centralised, local_0, local_1, …",
    )
    arguments.add_argument("--cores", type=int, required=True)
    given = arguments.parse_args()

    settings = given.config
    held = load_evaluation_set(given.preprocessed, given.partition, given.dataset, settings)

    import torch  # only now: a wrong key or column is told at once

    from blossomtune.evaluation.compare import evaluate_models
    from blossomtune.evaluation.stored_model import StoredModel

    # Cores change the order in which float32 sums are taken: the last digits of a loss, and an
    # answer only where two choices are equally likely to six digits.
    torch.set_num_threads(given.cores)
    models = {"base": StoredModel(given.base), "federated": StoredModel(given.merged)}
    for baseline in given.baseline:
        name, _, adapter = baseline.partition("=")
        models[name] = StoredModel(given.base, Path(adapter))
    write_json(given.output, evaluate_models(models, held, settings))


if __name__ == "__main__":
    run_script(main)
