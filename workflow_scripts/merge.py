"""Folds the federated adapter into its base, checks the result, and writes a model card."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script
from blossomtune.files import write_atomically


def main() -> None:
    """Writes the merged model, its card and the record of the check as one directory."""
    arguments = build_parser(__doc__)
    arguments.add_argument("--model", type=Path, required=True)
    arguments.add_argument("--adapter", type=Path, required=True)
    arguments.add_argument("--preprocessed", type=Path, required=True)
    arguments.add_argument("--dataset", type=Path, required=True)
    arguments.add_argument("--history", type=Path, required=True)
    arguments.add_argument("--output", type=Path, required=True)
    given = arguments.parse_args()

    import torch

    from blossomtune.export.merge import load_test_prompts, merge_adapter
    from blossomtune.export.model_card import render_model_card

    torch.set_num_threads(2)  # a fixed number, so that merge.json has the same digits everywhere
    card = render_model_card(
        given.config, given.model, given.adapter, given.preprocessed, given.dataset, given.history
    )
    with write_atomically(given.output, directory=True) as partial:
        merge_adapter(given.model, given.adapter, load_test_prompts(given.preprocessed), partial)
        (partial / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    run_script(main)
