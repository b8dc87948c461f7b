"""What every command-line step has in common: errors that people can read."""

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

import psutil

from blossomtune.errors import UserError
from blossomtune.process_lifetime import signal_self_when_process_ends

PARENT_PID_VARIABLE = "BLOSSOMTUNE_PARENT"
"""The variable in which rules name the process that a step must not outlive."""


def build_parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with ``--config``, a step's own configuration as JSON."""
    new = argparse.ArgumentParser(description=description)
    new.add_argument("--config", type=json.loads, required=True, metavar="JSON")
    return new


def silence_library_warnings() -> None:
    """Leaves out what libraries have to say to others than users."""
    warnings.simplefilter("ignore", FutureWarning)  # to their developers
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # misses a kernel that nobody needs


def run_script(main: Callable[[], None]) -> None:
    """Runs a step; what a user can mend is printed in a few lines, with exit status 1."""
    silence_library_warnings()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # gigabytes, where clusters allow them
    signal.signal(signal.SIGTERM, _handle_sigterm)
    parent_pid = os.environ.get(PARENT_PID_VARIABLE)
    if parent_pid and psutil.pid_exists(int(parent_pid)):  # a container may not see its host's
        signal_self_when_process_ends(int(parent_pid), signal.SIGTERM)
    try:
        main()
    except UserError as error:
        _exit_with_error(str(error))
    except Exception as error:
        if not _is_disk_full(error):
            raise
        where = getattr(error, "filename", None) or Path.cwd()
        _exit_with_error(
            f"no space left on the disk while writing {where}\n"
            "  hint: free some space and run the same command again; finished stages are kept"
        )


def _handle_sigterm(signal_number: int, _: object) -> None:
    """Leaves by way of every ``finally``, so that what was started is stopped."""
    sys.exit(128 + signal_number)


def _is_disk_full(error: Exception) -> bool:
    """Safetensors and Arrow have errors of their own, with the system's in their text."""
    codes = (errno.ENOSPC, errno.EDQUOT)
    text = str(error).lower()
    return getattr(error, "errno", None) in codes or any(f"os error {c})" in text for c in codes)


def _exit_with_error(message: str) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(1)
