"""Push results to the Hugging Face hub, or print what would be pushed."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Push the result of each experiment that has a block ``publish``."""
    parser = build_parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, metavar="DIR")
    parser.add_argument("--dry-run", action="store_true", help="print what would be pushed")
    args = parser.parse_args()

    from blossomtune.artifacts.checksums import verify_outputs
    from blossomtune.errors import UserError
    from blossomtune.export.model_card import render_model_card
    from blossomtune.export.publish import collect_upload, push

    if not args.config:
        raise UserError(
            "no experiment of `run` has a block `publish`", "publish: {repo: owner/name}"
        )
    for name, settings in args.config.items():
        card, what = settings["card"], settings["publish"]["what"]
        experiment = args.results / "experiments" / name
        model = args.results / "models" / card["model"]
        adapter, result = experiment / "adapter", experiment / what
        preprocessed = args.results.joinpath(
            "preprocessed", card["partition"], card["preprocessing"], card["model"]
        )
        dataset = args.results / "datasets" / settings["dataset"]
        verify_outputs(adapter, result)
        verify_outputs(model, preprocessed, dataset, metadata_only=True)
        text = render_model_card(
            card, model, adapter, preprocessed, dataset, experiment / "history.json", what=what
        )
        upload = collect_upload(settings["publish"], result, text)
        print(upload.describe())
        if not args.dry_run:
            print(push(upload) or "published already: no file has changed")


if __name__ == "__main__":
    run_script(main)
