"""Ordered parallel map over worker processes."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from blossomtune.errors import UserError
from blossomtune.process_lifetime import exit_with_parent

Task = TypeVar("Task")
Result = TypeVar("Result")

_worker_function: Callable[[Any], Any]
"""The function that a worker process applies."""


def map_ordered(
    function: Callable[[Task], Result], tasks: Iterable[Task], cores: int
) -> Generator[Result, None, None]:
    """Apply a function to tasks in worker processes, in the order of the tasks.

    Args:
        function: the function; workers are forked, so it need not be picklable.
        tasks: the arguments; they must be picklable.
        cores: number of worker processes; with 1 or less, this process does the work.

    Yields:
        The results, in the order of the tasks.

    Raises:
        UserError: if a worker process was killed. Errors of ``function`` are raised as they are.
    """
    if cores <= 1:
        yield from map(function, tasks)
        return
    remaining = iter(tasks)
    pool = ProcessPoolExecutor(
        cores, multiprocessing.get_context("fork"), _initialize_worker, (function,)
    )
    try:
        # two tasks per worker: none waits for the next one, and memory is bounded
        pending = deque(pool.submit(_run_task, task) for task in islice(remaining, 2 * cores))
        while pending:
            result: Result = pending.popleft().result()
            pending.extend(pool.submit(_run_task, task) for task in islice(remaining, 1))
            yield result
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed; most often there is too little memory",
            "give fewer cores: each needs memory of its own",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _initialize_worker(function: Callable[[Any], Any]) -> None:
    global _worker_function
    _worker_function = function
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core per worker
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers
    exit_with_parent()


def _run_task(task: Any) -> Any:
    return _worker_function(task)
