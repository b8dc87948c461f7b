"""Run command-line scripts: arguments, logging, signals and readable errors."""

import argparse
import gc
import json
import logging
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from blossomtune.errors import UserError
from blossomtune.files import read_json
from blossomtune.full_disk import build_full_disk_error, describe_full_disks, is_disk_full
from blossomtune.process_lifetime import find_snakemake, signal_self_when_process_ends
from blossomtune.work_limits import WorkLimitError

NO_COMPILER_VARIABLE = "TORCHDYNAMO_DISABLE"
"""Environment variable of torch; without it, bitsandbytes loads a compiler for a second."""

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
        has_config: Add ``--config``, a JSON file with the stage's part of the configuration.

    Returns:
        Parser to add a script's own arguments to.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--verbose", action=_VerboseAction, nargs=0, help="log debug messages, too")
    if has_config:
        parser.add_argument("--config", type=_read_config, required=True, metavar="FILE")
    return parser


def parse_named_paths(arguments: Iterable[str]) -> dict[str, Path]:
    """Return the paths of arguments of the form ``name=path``, by name."""
    named = (argument.partition("=") for argument in arguments)
    return {name: Path(path) for name, _, path in named}


def _read_config(value: str) -> Any:
    """Return the content of a JSON file; a value that starts with a brace is JSON itself."""
    return json.loads(value) if value.startswith("{") else read_json(Path(value))


def setup_process() -> None:
    """Set up logging, and prepare for importing large libraries; call this before that.

    Libraries show no progress bars and load no compiler, unless ``training.arguments`` asks for
    one.

    Raises:
        UserError: If ``BLOSSOMTUNE_LOG_LEVEL`` is not one of Python's log levels.
    """
    setup_logging()
    os.environ.setdefault("TQDM_DISABLE", "1")  # a log would keep every frame of a bar
    os.environ.setdefault(NO_COMPILER_VARIABLE, "1")
    gc.set_threshold(10_000)  # at 700, collections take a tenth of the time to import


def setup_logging() -> None:
    """Log to stderr, one plain line per message, at the level of ``BLOSSOMTUNE_LOG_LEVEL``.

    Warnings of libraries to their developers are silenced, except at DEBUG.

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
    logging.getLogger("flwr").propagate = False  # Flower adds a handler of its own
    is_verbose = level == "DEBUG"
    # bitsandbytes warns of an optional CPU kernel on import, and of float16 in each 8-bit layer.
    logging.getLogger("bitsandbytes").setLevel(logging.NOTSET if is_verbose else logging.ERROR)
    filter_warnings()


def filter_warnings() -> None:
    """Show warnings of libraries to their developers at DEBUG only."""
    is_verbose = logging.getLogger("blossomtune").level == logging.DEBUG
    for category in (DeprecationWarning, FutureWarning):
        warnings.simplefilter("default" if is_verbose else "ignore", category)


def run_script(main: Callable[[], None]) -> None:
    """Run a script's ``main``; print users' errors without traceback and exit with status 1."""
    try:
        setup_process()
        _limit_process()
        main()
    except (UserError, WorkLimitError) as error:
        _exit_with_error(str(error))
    except Exception as error:
        if not is_disk_full(error):
            raise
        name = getattr(error, "filename", None)
        path = Path(name) if isinstance(name, str) else None
        _exit_with_error(str(build_full_disk_error(path, path) if path else describe_full_disks()))


@contextmanager
def write_benchmark(path: Path | None) -> Iterator[None]:
    """Write time and memory of this script in the columns of Snakemake's benchmark files.

    Snakemake does not cache rules that it benchmarks. Stages that it may cache measure themselves.

    Args:
        path: File to write when the block has ended without an error, or None.

    Yields:
        None.
    """
    yield
    if path is None:
        return
    seconds = time.time() - psutil.Process().create_time()
    # Not the ru_maxrss of this process: it starts with the peak of the process that forked it.
    own_peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    child_peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    megabytes = max(int(own_peak), child_peak) / 1024
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\tmax_rss\n{seconds:.4f}\t{megabytes:.2f}\n", encoding="utf-8")


def _limit_process() -> None:
    """Write no core dumps, run ``finally`` blocks on SIGTERM, and end with Snakemake."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # gigabytes, where clusters allow them
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if (snakemake_pid := find_snakemake()) is not None:
        signal_self_when_process_ends(snakemake_pid, signal.SIGTERM)


def _exit_with_error(message: str) -> None:
    """Print an error and exit; what the log of a rule has no room for goes to the terminal."""
    try:
        print(f"error: {message}", file=sys.stderr, flush=True)
    except OSError:
        print(f"error: {message}", flush=True)
    sys.exit(1)
