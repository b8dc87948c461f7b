"""Join a federation: prepare a client's own rows, and run its SuperNode beside them."""

import os
from pathlib import Path

from blossomtune.cli import build_parser


def main() -> None:
    """Prepare the rows and run the SuperNode until it is stopped."""
    parser = build_parser(__doc__, has_config=False)
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="what you were sent; by default, where you are"
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="your rows: a file, a folder or an archive"
    )
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--fetch-model",
        action="store_true",
        help="fetch the base model from the source that the invitation names",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be sent, and do not connect"
    )
    args = parser.parse_args()

    os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    from blossomtune.deployment.client_run import run_client

    run_client(
        args.folder.resolve(),
        args.data.resolve(),
        args.cores,
        fetches_model=args.fetch_model,
        connects=not args.dry_run,
    )
