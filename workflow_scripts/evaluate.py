"""Scores the base and the federated model on the same held-out rows."""

from pathlib import Path

from blossomtune.evaluation.rows import held_out
from blossomtune.files import write_json
from blossomtune.step import parser, run


def main() -> None:
    """Reads the rows, scores both models, writes the metrics."""
    arguments = parser(__doc__)
    arguments.add_argument("--base", type=Path, required=True)
    arguments.add_argument("--merged", type=Path, required=True)
    arguments.add_argument("--preprocessed", type=Path, required=True)
    arguments.add_argument("--dataset", type=Path, required=True)
    arguments.add_argument("--output", type=Path, required=True)
    arguments.add_argument("--cores", type=int, required=True)
    given = arguments.parse_args()

    settings = given.config
    rows = held_out(given.preprocessed, given.dataset, settings["choices"], settings["by"])

    import torch  # only now: a wrong key or column is told at once

    from blossomtune.evaluation.compare import evaluate

    # Cores change the order in which float32 sums are taken: the last digits of a loss, and an
    # answer only where two choices are equally likely to six digits.
    torch.set_num_threads(given.cores)
    models = {"base": given.base, "federated": given.merged}
    write_json(given.output, evaluate(models, rows, settings))


if __name__ == "__main__":
    run(main)
