"""Fold the federated adapter into its base, check the result, and write a model card."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script
from blossomtune.files import write_atomically


def main() -> None:
    """Write the merged model, its card and the record of the check as one directory."""
    parser = build_parser(__doc__)
    for name in ("model", "adapter", "preprocessed", "dataset", "history", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()

    import torch

    from blossomtune.artifacts.checksums import verify_outputs, write_checksums
    from blossomtune.export.merge import load_test_prompts, merge_adapter
    from blossomtune.export.model_card import render_model_card

    verify_outputs(args.model, args.adapter, args.preprocessed)
    verify_outputs(args.dataset, metadata_only=True)  # no rows are read
    torch.set_num_threads(2)  # a fixed number, so that merge.json has the same digits everywhere
    card = render_model_card(
        args.config, args.model, args.adapter, args.preprocessed, args.dataset, args.history
    )
    with write_atomically(args.output, directory=True) as partial:
        merge_adapter(args.model, args.adapter, load_test_prompts(args.preprocessed), partial)
        (partial / "README.md").write_text(card, encoding="utf-8")
    write_checksums(args.output, "merge")
    print(f"merged model: {args.output}")


if __name__ == "__main__":
    run_script(main)
