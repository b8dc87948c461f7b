"""Print what a run downloads, with sizes, before it does."""

import shutil
from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Print and write the downloads; fail if the disk is too small for them."""
    parser = build_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.json")
    args = parser.parse_args()

    from blossomtune.artifacts.files import write_artifact
    from blossomtune.artifacts.plan import Downloads
    from blossomtune.errors import UserError
    from blossomtune.planning.downloads import format_downloads, list_downloads

    downloads = list_downloads(args.config, args.output.parent)
    print(format_downloads(downloads))
    needed = sum(download.size or 0 for download in downloads)
    free = shutil.disk_usage(args.output.parent).free
    if needed > free:
        raise UserError(
            f"the downloads need {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB of disk are free",
            "free some space, choose smaller models, or limit data sets by source.rows",
        )
    write_artifact(args.output, Downloads(downloads=downloads))


if __name__ == "__main__":
    run_script(main)
