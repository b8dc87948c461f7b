"""Call functions in worker processes."""

import gc
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from blossomtune import work_limits
from blossomtune.errors import UserError
from blossomtune.process_lifetime import exit_with_parent
from blossomtune.worker_notes import add_place, allocate_slots, find_overdue, use_slot

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

Task = TypeVar("Task")
Result = TypeVar("Result")

_HINT = "simplify it, or leave the row out"

_worker_function: Callable[[Any], Any]
"""The function that a worker process applies."""


def map_ordered(
    function: Callable[[Task], Result], tasks: Iterable[Task], cores: int, *, isolate: bool = False
) -> Generator[Result, None, None]:
    """Apply a function to tasks in worker processes, in the order of the tasks.

    Args:
        function: the function; workers are forked, so it need not be picklable.
        tasks: the arguments; they must be picklable.
        cores: number of worker processes; with 1 or less, this process does the work.
        isolate: whether there is a worker process with 1 core, too: templates may not end, and the
            kernel kills only workers for that.

    Yields:
        The results, in the order of the tasks.

    Raises:
        UserError: if a worker process was killed. Errors of ``function`` are raised as they are.
    """
    if cores <= 1 and not isolate:
        yield from map(function, tasks)
        return
    cores, remaining = max(1, cores), iter(tasks)
    pool, slots = _start_pool(function, cores)
    try:
        # two tasks per worker: none waits for the next one, and memory is bounded
        pending = deque(pool.submit(_run_task, task) for task in islice(remaining, 2 * cores))
        while pending:
            result: Result = pending.popleft().result()
            pending.extend(pool.submit(_run_task, task) for task in islice(remaining, 1))
            yield result
    except BrokenProcessPool:
        raise _make_kill_error(slots) from None
    finally:
        pool.shutdown(cancel_futures=True)


def run_in_worker(function: Callable[..., Result], *args: Any) -> Result:
    """Call a function in a worker process.

    Args:
        function: the function.
        *args: its arguments.

    Returns:
        Its result, which must be picklable.

    Raises:
        UserError: if the process was killed. Errors of ``function`` are raised as they are.
    """
    with closing(map_ordered(lambda _: function(*args), [None], 1, isolate=True)) as results:
        return next(results)


class Worker(Generic[Task, Result]):
    """A worker process that applies a function to one task after the other.

    It is started by the first task, and again by the first one after a kill. Only ``close`` ends
    it in an orderly way: a pool that is collected as the interpreter exits may print an error.

    Args:
        function: the function; the process is forked, so it need not be picklable.
    """

    def __init__(self, function: Callable[[Task], Result]) -> None:
        self._function = function
        self._started: tuple[ProcessPoolExecutor, memoryview] | None = None

    def call(self, task: Task) -> Result:
        """Apply the function.

        Args:
            task: its argument, which must be picklable.

        Returns:
            Its result.

        Raises:
            UserError: if the process was killed. Errors of the function are raised as they are.
        """
        pool, slots = self._started = self._started or _start_pool(self._function, 1)
        try:
            result: Result = pool.submit(_run_task, task).result()
        except BrokenProcessPool:
            self.close()
            raise _make_kill_error(slots) from None
        return result

    def close(self) -> None:
        """End the process."""
        if self._started:
            self._started[0].shutdown(cancel_futures=True)
            self._started = None


def _start_pool(
    function: Callable[[Any], Any], num_workers: int
) -> tuple[ProcessPoolExecutor, memoryview]:
    """Return a pool of worker processes, and the memory for their notes."""
    fork, slots = multiprocessing.get_context("fork"), allocate_slots(num_workers)
    arguments = (function, slots, fork.Value("i", 0))
    return ProcessPoolExecutor(num_workers, fork, _initialize_worker, arguments), slots


def _make_kill_error(slots: memoryview) -> UserError:
    seconds = work_limits.KILL_CPU_SECONDS
    if call := find_overdue(slots, seconds):
        limit = work_limits.describe_time_limit(seconds)
        return UserError(f"{call} {limit}", _HINT)
    return UserError(
        "a worker process was killed; most often there is too little memory",
        "give fewer cores: each needs memory of its own",
    )


def _initialize_worker(
    function: Callable[[Any], Any], slots: memoryview, num_workers: "Synchronized[int]"
) -> None:
    global _worker_function
    _worker_function = function
    gc.freeze()  # to collect the parent's garbage here may crash: its threads are not here
    with num_workers.get_lock():
        use_slot(slots, num_workers.value)
        num_workers.value += 1
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core per worker
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers
    exit_with_parent()


def _run_task(task: Any) -> Any:
    try:
        return _worker_function(task)
    except work_limits.WorkLimitError as error:
        raise UserError(add_place(str(error)), _HINT) from None
