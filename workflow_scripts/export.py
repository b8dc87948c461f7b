"""Write the result as GGUF files and for Ollama, and compare their tokens with the model's."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script
from blossomtune.files import write_atomically


def main() -> None:
    """Write all formats as one directory."""
    parser = build_parser(__doc__)
    for name in ("converter", "merged", "adapter", "preprocessed", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()

    from blossomtune.artifacts.checksums import verify_outputs, write_checksums
    from blossomtune.export.export_formats import export_formats

    verify_outputs(args.converter, args.merged, args.adapter, args.preprocessed)
    with write_atomically(args.output, directory=True) as partial:
        export_formats(
            args.config, args.converter, args.merged, args.adapter, args.preprocessed, partial
        )
    write_checksums(args.output, "export")
    for file in sorted(args.output.iterdir()):
        print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_script(main)
