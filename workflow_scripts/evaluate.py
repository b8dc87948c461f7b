"""Scores base, federated model and controls on the same held-out rows."""

from pathlib import Path

from blossomtune.evaluation.rows import held_out
from blossomtune.files import write_json
from blossomtune.step import parser, run


def main() -> None:
    """Reads the rows, scores the models, writes the metrics."""
    arguments = parser(__doc__)
    for name in ("base", "merged", "preprocessed", "partition", "dataset", "output"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    arguments.add_argument(
        "--control",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="the adapter of a control: centralised, local_0, local_1, …",
    )
    arguments.add_argument("--cores", type=int, required=True)
    given = arguments.parse_args()

    settings = given.config
    held = held_out(given.preprocessed, given.partition, given.dataset, settings)

    import torch  # only now: a wrong key or column is told at once

    from blossomtune.evaluation.compare import evaluate
    from blossomtune.evaluation.models import Model

    # Cores change the order in which float32 sums are taken: the last digits of a loss, and an
    # answer only where two choices are equally likely to six digits.
    torch.set_num_threads(given.cores)
    models = {"base": Model(given.base), "federated": Model(given.merged)}
    for control in given.control:
        name, _, adapter = control.partition("=")
        models[name] = Model(given.base, Path(adapter))
    write_json(given.output, evaluate(models, held, settings))


if __name__ == "__main__":
    run(main)
