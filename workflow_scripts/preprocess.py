"""Render, tokenize and mask each client's rows and the held-out test rows."""

import os
from pathlib import Path

from blossomtune.cli import build_parser, run_script, write_benchmark


def main() -> None:
    """Run the preprocess stage."""
    parser = build_parser(__doc__)
    for name in ("model", "dataset", "partition", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="DIR")
    parser.add_argument("--cores", type=int, default=1, metavar="N")
    parser.add_argument("--benchmark", type=Path, metavar="FILE")
    args = parser.parse_args()

    # processes share the work, a core each; tokenizers reads these when it is first used
    os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    from blossomtune.artifacts.checksums import verify_outputs, write_checksums
    from blossomtune.data.tokenization import build_tokenized
    from blossomtune.files import write_atomically

    verify_outputs(args.dataset, args.partition)
    verify_outputs(args.model, metadata_only=True)  # no weights are read
    with write_benchmark(args.benchmark), write_atomically(args.output, directory=True) as folder:
        manifest = build_tokenized.tokenize_partition(
            args.config, args.model, args.dataset, args.partition, folder, args.cores
        )
    write_checksums(args.output, "preprocess")
    for warning in manifest.chat_template.warnings:
        print(f"warning: {warning}")
    for client in manifest.clients:
        print(f"client {client.client}: {client.rows} rows, {client.tokens} tokens")
    if manifest.test:
        print(f"test: {manifest.test.rows} rows, {manifest.test.tokens} tokens")


if __name__ == "__main__":
    run_script(main)
