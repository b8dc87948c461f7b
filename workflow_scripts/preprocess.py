"""Renders, tokenises and masks each client's rows and the held-out test rows."""

import os
from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Runs the preprocess stage."""
    arguments = build_parser(__doc__)
    for name in ("model", "dataset", "partition", "output"):
        arguments.add_argument(f"--{name}", type=Path, required=True, metavar="DIR")
    arguments.add_argument("--cores", type=int, default=1, metavar="N")
    given = arguments.parse_args()

    # processes share the work, a core each; tokenizers reads these when it is first used
    os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    from blossomtune.data.tokenization import build_tokenized
    from blossomtune.files import write_atomically

    with write_atomically(given.output, directory=True) as folder:
        manifest = build_tokenized.tokenize_partition(
            given.config, given.model, given.dataset, given.partition, folder, given.cores
        )
    for client in manifest["clients"]:
        print(f"client {client['client']}: {client['rows']} rows, {client['tokens']} tokens")
    print(f"test: {manifest['test']['rows']} rows, {manifest['test']['tokens']} tokens")


if __name__ == "__main__":
    run_script(main)
