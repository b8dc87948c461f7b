"""Write a preview of tokenized rows: what the model reads and learns, token by token."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Select rows of each client and write them as a page and as text."""
    from blossomtune.artifacts.checksums import verify_outputs
    from blossomtune.files import write_atomically
    from blossomtune.reporting.preview import page, text, view

    parser = build_parser(__doc__)
    for name in ("model", "partition", "preprocessed"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.html")
    parser.add_argument("--text", type=Path, required=True, metavar="FILE.txt")
    args = parser.parse_args()
    verify_outputs(args.preprocessed)
    verify_outputs(args.model, args.partition, metadata_only=True)  # no weights or rows are read
    preview = view.build_preview(args.config, args.model, args.partition, args.preprocessed)
    for path, content in (
        (args.output, page.render_page(preview)),
        (args.text, text.render_text(preview)),
    ):
        with write_atomically(path) as file:
            file.write_text(content, encoding="utf-8")
    rows = sum(len(file.rows) for file in preview.files)
    print(f"{rows} rows of {len(preview.files)} files: {args.output}")


if __name__ == "__main__":
    run_script(main)
