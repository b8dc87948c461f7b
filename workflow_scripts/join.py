"""Joins a federation: prepares a client's own rows, and runs its SuperNode beside them."""

import argparse
import os
from pathlib import Path

from blossomtune.cli import run_script


def main() -> None:
    """Runs until it is told to stop."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--folder", type=Path, default=Path(), help="what you were sent; by default, where you are"
    )
    arguments.add_argument(
        "--data", type=Path, required=True, help="your rows: a file, a folder or an archive"
    )
    arguments.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    given = arguments.parse_args()

    os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    from blossomtune.deployment.client_run import run_client

    run_client(given.folder.resolve(), given.data.resolve(), given.cores)


if __name__ == "__main__":
    run_script(main)
