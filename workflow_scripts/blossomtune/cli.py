"""Run command-line scripts: arguments, logging, signals and readable errors."""

import argparse
import errno
import json
import logging
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from blossomtune.errors import UserError
from blossomtune.process_lifetime import signal_self_when_process_ends

PARENT_PID_VARIABLE = "BLOSSOMTUNE_PARENT"
"""Environment variable with the id of the process that a script must not outlive."""

LOG_LEVEL_VARIABLE = "BLOSSOMTUNE_LOG_LEVEL"
"""Environment variable with the log level of this script and of the processes that it starts."""


class _VerboseAction(argparse.Action):
    """Set the log level to DEBUG as soon as the option is parsed."""

    def __call__(self, *_: Any) -> None:
        os.environ[LOG_LEVEL_VARIABLE] = "DEBUG"
        setup_logging()


def build_parser(description: str | None, *, has_config: bool = True) -> argparse.ArgumentParser:
    """Return an argument parser with ``--verbose``.

    Args:
        description: Text for ``--help``.
        has_config: Add ``--config``, the stage's part of the configuration as JSON.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--verbose", action=_VerboseAction, nargs=0, help="log debug messages, too")
    if has_config:
        parser.add_argument("--config", type=json.loads, required=True, metavar="JSON")
    return parser


def setup_logging() -> None:
    """Log to stderr, one plain line per message, at the level of ``BLOSSOMTUNE_LOG_LEVEL``.

    Progress bars and warnings of libraries to their developers are silenced, except at DEBUG.

    Raises:
        UserError: If the level is not one of Python's log levels.
    """
    level = os.environ.get(LOG_LEVEL_VARIABLE, "INFO").upper()
    if level not in (levels := logging.getLevelNamesMapping()):
        raise UserError(
            f"{LOG_LEVEL_VARIABLE}: {level!r} is not a log level; allowed: {', '.join(levels)}"
        )
    logging.basicConfig(format="%(message)s")
    for name in ("blossomtune", "__main__"):
        logging.getLogger(name).setLevel(level)
    is_verbose = level == "DEBUG"
    # bitsandbytes warns of an optional CPU kernel on import, and of float16 in each 8-bit layer.
    logging.getLogger("bitsandbytes").setLevel(logging.NOTSET if is_verbose else logging.ERROR)
    warnings.simplefilter("default" if is_verbose else "ignore", FutureWarning)
    os.environ.setdefault("TQDM_DISABLE", "1")  # a log would keep every frame of a bar


def run_script(main: Callable[[], None]) -> None:
    """Run a script's ``main``; print a ``UserError`` without traceback and exit with status 1."""
    try:
        setup_logging()
        _limit_process()
        main()
    except UserError as error:
        _exit_with_error(str(error))
    except Exception as error:
        if not _is_disk_full(error):
            raise
        path = getattr(error, "filename", None) or Path.cwd()
        _exit_with_error(
            f"no space left on the disk while writing {path}\n"
            "  hint: free some space and run the same command again; finished stages are kept"
        )


def _limit_process() -> None:
    """Write no core dumps, run ``finally`` blocks on SIGTERM, and end with Snakemake."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # gigabytes, where clusters allow them
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    parent_pid = os.environ.get(PARENT_PID_VARIABLE)
    if parent_pid and psutil.pid_exists(int(parent_pid)):  # a container may not see its host's
        signal_self_when_process_ends(int(parent_pid), signal.SIGTERM)


def _is_disk_full(error: Exception) -> bool:
    """Return whether a disk is full; safetensors and Arrow have the error code in the text."""
    codes = (errno.ENOSPC, errno.EDQUOT)
    text = str(error).lower()
    return getattr(error, "errno", None) in codes or any(f"os error {c})" in text for c in codes)


def _exit_with_error(message: str) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(1)
