"""Limit time, memory and output of templates and regular expressions.

Their authors may be strangers: the author of a data set or a base model, or a server. Time is
processor time, so that a busy machine changes no result.
"""

import gc
import mmap
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

from blossomtune.worker_notes import is_worker, note_end, note_start

Result = TypeVar("Result")

CPU_SECONDS = 5.0
"""Processor time per call."""

KILL_CPU_SECONDS = 10.0
"""Processor time after which the kernel kills a worker process: no signal handler has run, since
a single operation takes the time."""

MEMORY_BYTES = 2**30
"""Memory per call, added to what the process has."""

MAX_CHARACTERS = 2**24
"""Characters of a text, the length of ten long novels."""

_SIZES = Path("/proc/self/statm")

_TICKS = 5
"""Signals in ``CPU_SECONDS``. A timer per call would take longer than a short template."""

_ticks: int | None = None
"""Signals since the start of the call in work; None between calls."""

_memory_limit: tuple[int, int] | None = None
"""Limit before ``limit_work``; None outside of it."""

_written = 0
"""Characters of results since the limit of memory was set."""


class WorkLimitError(Exception):
    """A limit was exceeded, in a way that ends the command.

    It is no ``UserError``, because rows with such an error may be left out. Each of these rows
    would take as long again.
    """


class _TimeLimitError(Exception):
    pass


def describe_time_limit(seconds: float) -> str:
    """Return the end of a message about a call that took this long."""
    return f"takes more than {seconds:g} s of processor time"


@contextmanager
def limit_work() -> Iterator[None]:
    """Prepare the limits once for many calls of ``run_limited``, such as the rows of a batch.

    Python runs signal handlers in the main thread only, so other threads have no limit of time.
    """
    global _memory_limit
    if _memory_limit is not None:
        yield
        return
    _memory_limit = resource.getrlimit(resource.RLIMIT_AS)
    has_timers = threading.current_thread() is threading.main_thread()
    try:
        _limit_memory()
        if has_timers:
            signal.signal(signal.SIGVTALRM, _count_tick)
            seconds = CPU_SECONDS / _TICKS
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds, seconds)
            _delay_kill(KILL_CPU_SECONDS)
        yield
    finally:
        if has_timers:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            _delay_kill(0)
        note_end()
        resource.setrlimit(resource.RLIMIT_AS, _memory_limit)
        _memory_limit = None


def run_limited(name: str, function: Callable[..., Result], *args: object) -> Result:
    """Call a function with limits of time, memory and output.

    Args:
        name: Name of the template or expression, for messages.
        function: The function.
        *args: Its arguments.

    Returns:
        Its result.

    Raises:
        WorkLimitError: If a limit is exceeded.
        Exception: Errors of the function, without the tracebacks that would keep its memory.
    """
    global _ticks
    if _memory_limit is None:
        with limit_work():
            return run_limited(name, function, *args)
    failure: Exception
    note_start(name)
    _ticks = 0
    try:
        result = function(*args)
    except MemoryError:
        failure = WorkLimitError(f"{name} needs more than {MEMORY_BYTES >> 20} MiB of memory")
    except _TimeLimitError:
        failure = WorkLimitError(f"{name} {describe_time_limit(CPU_SECONDS)}")
    except Exception as error:
        failure = error.with_traceback(None)
    else:
        size = len(result) if isinstance(result, str) else 0
        if size <= MAX_CHARACTERS:
            _count_written(size)
            return result
        failure = WorkLimitError(
            f"{name} writes {size} characters; at most {MAX_CHARACTERS} are allowed"
        )
    finally:
        _ticks = None
    failure.__context__ = failure.__cause__ = None
    if isinstance(failure, WorkLimitError):
        gc.collect()
    raise failure


def _count_tick(_signal: int, _frame: FrameType | None) -> None:
    """Count the signals of a call, and delay the end of this process, which is not stuck."""
    global _ticks
    _delay_kill(KILL_CPU_SECONDS)
    if _ticks is not None:
        _ticks += 1
        if _ticks >= _TICKS:
            raise _TimeLimitError


def _delay_kill(seconds: float) -> None:
    if is_worker():
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _count_written(size: int) -> None:
    """Limit the memory anew after many results, which are not the memory of a single call."""
    global _written
    _written += size
    if _written > MAX_CHARACTERS:
        _limit_memory()


def _limit_memory() -> None:
    """Limit the address space to its size and ``MEMORY_BYTES``, where the system tells its size."""
    global _written
    _written = 0
    if _memory_limit is None or not _SIZES.exists():
        return
    size = int(_SIZES.read_bytes().split()[0]) * mmap.PAGESIZE
    known = [limit for limit in _memory_limit if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([size + MEMORY_BYTES, *known]), _memory_limit[1]))
