"""What every command-line step has in common: errors that people can read."""

import argparse
import errno
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from blossomtune.errors import UserError


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with ``--config``, a step's own configuration as JSON."""
    new = argparse.ArgumentParser(description=description)
    new.add_argument("--config", type=json.loads, required=True, metavar="JSON")
    return new


def run(main: Callable[[], None]) -> None:
    """Runs a step; what a user can mend is printed in a few lines, with exit status 1."""
    warnings.simplefilter("ignore", FutureWarning)  # libraries to their developers, not to users
    try:
        main()
    except UserError as error:
        _fail(str(error))
    except Exception as error:
        if not _disk_full(error):
            raise
        where = getattr(error, "filename", None) or Path.cwd()
        _fail(
            f"no space left on the disk while writing {where}\n"
            "  hint: free some space and run the same command again; finished stages are kept"
        )


def _disk_full(error: Exception) -> bool:
    """Safetensors and Arrow have errors of their own, with the system's in their text."""
    codes = (errno.ENOSPC, errno.EDQUOT)
    text = str(error).lower()
    return getattr(error, "errno", None) in codes or any(f"os error {c})" in text for c in codes)


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(1)
